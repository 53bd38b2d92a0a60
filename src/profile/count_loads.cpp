#include "profile/count_loads.hpp"

#include <fmt/format.h>

#include <map>

#include "profile/segments.hpp"

namespace moesaic::profile {
namespace {

std::size_t phase_row(Phase phase) {
  return phase == Phase::kPrefill ? kPrefillRow : phase == Phase::kDecode ? kDecodeRow : kUnknownRow;
}

void add(std::span<const double> counts, std::size_t kind, Loads& loads) {
  for (std::size_t l = 0; l < loads.layers; ++l) {
    double* out = &loads.values[(l * loads.kinds + kind) * loads.experts];
    for (std::size_t e = 0; e < loads.experts; ++e) out[e] += counts[l * loads.experts + e];
  }
}

}  // namespace

Result<CountLoads> read_count_loads(const trace::Trace& trace, std::size_t max_domains) {
  const std::size_t layers = trace.shape().layers.size(), experts = trace.shape().experts;
  const std::vector<trace::CountRow>& rows = trace.count_rows();
  CountLoads out;
  std::array<bool, kPhases> has{};
  std::vector<double> weights(trace.requests().domains.size());
  for (const trace::CountRow& row : rows) {
    has[phase_row(row.phase)] = true;
    ++weights[row.domain];
    out.tokens += row.tokens;
  }
  out.main_phase = has[kDecodeRow] ? kDecodeRow : has[kPrefillRow] ? kPrefillRow : kUnknownRow;
  KeptDomains kept = keep_domains(trace.requests().domains, weights, max_domains);
  out.domains = std::move(kept.names);
  std::map<std::uint32_t, std::size_t> window_of;
  for (const trace::CountRow& row : rows) {
    if (phase_row(row.phase) == out.main_phase) window_of.emplace(row.window, 0);
  }
  std::size_t windows = 0;
  for (auto& [number, place] : window_of) place = windows++;
  const auto empty = [&](std::size_t kinds) {
    return Loads{layers, kinds, experts, std::vector<double>(layers * kinds * experts)};
  };
  out.windows = empty(windows);
  for (std::size_t phase = 0; phase < kPhases; ++phase) {
    if (has[phase]) out.loads[phase] = empty(out.domains.size());
  }
  std::vector<double> counts(layers * experts);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    MOESAIC_TRY(trace.read_counts(r, counts));
    const std::size_t phase = phase_row(rows[r].phase);
    add(counts, kept.of_code[rows[r].domain], out.loads[phase]);
    if (phase == out.main_phase) add(counts, window_of[rows[r].window], out.windows);
    for (const double count : counts) out.rows[phase] += count;
  }
  if (!(out.rows[out.main_phase] > 0))
    return bad_input(fmt::format("{}: every count is 0; there is nothing to profile", trace.path()));
  return out;
}

}  // namespace moesaic::profile
