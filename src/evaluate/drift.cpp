#include "evaluate/drift.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/check.hpp"
#include "evaluate/score.hpp"

namespace moesaic::evaluate {
namespace {

double sum(std::span<const double> values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

/// Rows that a layer's loads stand for; none are known behind shares.
double sample(std::span<const double> loads) {
  const bool whole = std::ranges::all_of(loads, [](double load) { return load == std::floor(load); });
  return whole ? sum(loads) : HUGE_VAL;
}

struct Distance {
  double distance = 0, noise = 0;
};

/// Total variation, and its mean over two samples of one distribution: E|X - Y| of each expert's share is
/// that of a normal of the same variance, sqrt(2/pi) times its deviation.
Distance distance(std::span<const double> planned, std::span<const double> observed) {
  const double p = sum(planned), o = sum(observed);
  if (p <= 0 || o <= 0) return {.distance = p == o ? 0.0 : 1.0};
  const double inverse = 1 / sample(planned) + 1 / sample(observed);
  Distance out;
  for (std::size_t e = 0; e < planned.size(); ++e) {
    const double share = (planned[e] + observed[e]) / (p + o);
    out.distance += std::abs(planned[e] / p - observed[e] / o) / 2;
    out.noise += std::sqrt(2 / std::numbers::pi * share * (1 - share) * inverse) / 2;
  }
  return out;
}

struct Range {
  std::uint64_t begin = 0, end = 0;
};

/// Tokens of a phase, ascending; those of no request are in every phase.
std::vector<Range> ranges_of(const trace::Trace& trace, Phase phase) {
  const trace::RequestTable& table = trace.requests();
  std::vector<Range> out;
  const auto add = [&](std::uint64_t begin, std::uint64_t end) {
    if (begin == end) return;
    if (!out.empty() && out.back().end == begin) {
      out.back().end = end;
    } else {
      out.push_back({begin, end});
    }
  };
  std::uint64_t at = 0;
  for (std::size_t r = 0; r < table.size(); ++r) {
    add(at, table.start[r]);
    const std::uint64_t decode = table.start[r] + table.prefill_tokens[r];
    at = decode + table.decode_tokens[r];
    if (phase != Phase::kDecode) add(table.start[r], decode);
    if (phase != Phase::kPrefill) add(decode, at);
  }
  add(at, trace.tokens());
  return out;
}

constexpr std::uint64_t kTokensAtATime = 16'384;

/// Calls visit(expert, position among the tokens of `ranges`) over a layer.
template <class Visit>
Status for_each_row(const trace::Trace& trace, std::size_t row, std::span<const Range> ranges, Visit visit) {
  const std::size_t k = trace.shape().top_k;
  std::vector<ExpertId> block;
  std::uint64_t position = 0;
  for (const Range& range : ranges) {
    for (std::uint64_t begin = range.begin; begin < range.end;) {
      const std::uint64_t end = std::min(range.end, begin / kTokensAtATime * kTokensAtATime + kTokensAtATime);
      block.resize(static_cast<std::size_t>(end - begin) * k);
      MOESAIC_TRY(trace.read_layer(row, begin, end, block));
      for (std::size_t i = 0; i < block.size(); ++i) {
        if (block[i] != kMissingExpert) visit(block[i], position + i / k);
      }
      position += end - begin;
      begin = end;
    }
  }
  return {};
}

Status read_tokens(const trace::Trace& trace, std::size_t parts, ThreadPool& pool, ObservedLoads& out) {
  const ModelShape& shape = trace.shape();
  auto ranges = ranges_of(trace, out.phase);
  if (ranges.empty()) {
    out.phase = Phase::kAll;
    ranges = ranges_of(trace, Phase::kAll);
  }
  for (const Range& range : ranges) out.rows += range.end - range.begin;
  if (out.rows == 0) return bad_input(fmt::format("{}: has no tokens, so no loads", trace.path()));
  out.parts.assign(static_cast<std::size_t>(std::min<std::uint64_t>(parts, out.rows)),
                   std::vector<double>(shape.layers.size() * shape.experts));
  return pool.try_parallel_for(shape.layers.size(), [&](std::size_t row) {
    return for_each_row(trace, row, ranges, [&](ExpertId expert, std::uint64_t position) {
      out.parts[static_cast<std::size_t>(position * out.parts.size() / out.rows)]
               [row * shape.experts + index(expert)] += 1;
    });
  });
}

Status read_rows(const trace::Trace& trace, std::size_t parts, ObservedLoads& out) {
  const auto rows_of = [&](Phase phase) {
    std::vector<std::size_t> rows;
    for (std::size_t r = 0; r < trace.count_rows().size(); ++r) {
      const Phase of_row = trace.count_rows()[r].phase;
      if (phase == Phase::kAll || of_row == Phase::kAll || of_row == phase) rows.push_back(r);
    }
    return rows;
  };
  std::vector<std::size_t> rows = rows_of(out.phase);
  if (rows.empty()) {
    out.phase = Phase::kAll;
    rows = rows_of(Phase::kAll);
  }
  out.rows = rows.size();
  if (rows.empty()) return bad_input(fmt::format("{}: has no count rows, so no loads", trace.path()));
  std::ranges::stable_sort(rows, {}, [&](std::size_t r) { return trace.count_rows()[r].window; });
  std::vector<double> row(trace.shape().layers.size() * trace.shape().experts);
  out.parts.assign(std::min(parts, rows.size()), std::vector<double>(row.size()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    MOESAIC_TRY(trace.read_counts(rows[i], row));
    std::vector<double>& part = out.parts[i * out.parts.size() / rows.size()];
    for (std::size_t at = 0; at < row.size(); ++at) part[at] += row[at];
  }
  return {};
}

}  // namespace

Drift drift(const Placement& placement, std::span<const double> planned, std::span<const double> observed) {
  const std::size_t experts = placement.experts(), layers = placement.layers().size();
  MOESAIC_CHECK(planned.size() == layers * experts && observed.size() == planned.size());
  const Score before = score_counts(planned, placement), now = score_counts(observed, placement);
  Drift out{.planned_node_max_over_mean = before.node_max_over_mean,
            .planned_gpu_max_over_mean = before.gpu_max_over_mean,
            .observed_node_max_over_mean = now.node_max_over_mean,
            .observed_gpu_max_over_mean = now.gpu_max_over_mean,
            .layers = {}};
  for (std::size_t row = 0; row < layers; ++row) {
    const Distance found =
        distance(planned.subspan(row * experts, experts), observed.subspan(row * experts, experts));
    out.distance += found.distance / static_cast<double>(layers);
    out.noise += found.noise / static_cast<double>(layers);
    out.layers.push_back({.layer = placement.layers()[row],
                          .distance = found.distance,
                          .noise = found.noise,
                          .planned_gpu_max_over_mean = before.layers[row].gpu_max_over_mean,
                          .observed_gpu_max_over_mean = now.layers[row].gpu_max_over_mean});
  }
  return out;
}

Result<ObservedLoads> observed_loads(const trace::Trace& trace, Phase phase, std::size_t parts,
                                     ThreadPool& pool) {
  MOESAIC_CHECK(parts > 0);
  ObservedLoads out{.parts = {}, .total = {}, .phase = phase, .rows = 0};
  MOESAIC_TRY(trace.kind() == trace::Kind::kTokens ? read_tokens(trace, parts, pool, out)
                                                   : read_rows(trace, parts, out));
  out.total.assign(out.parts[0].size(), 0.0);
  for (const std::vector<double>& part : out.parts) {
    for (std::size_t i = 0; i < part.size(); ++i) out.total[i] += part[i];
  }
  return out;
}

}  // namespace moesaic::evaluate
