#include "simulate/recording.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesaic::simulate {

double Recording::mean_decode_tokens() const {
  double sum = 0;
  for (const RecordedRequest& request : requests) sum += request.decode_tokens;
  return requests.empty() ? 0 : sum / static_cast<double>(requests.size());
}

Result<Recording> read_recording(const evaluate::SelectedTokens& tokens, ThreadPool& pool) {
  const trace::Trace& trace = tokens.source();
  const trace::RequestTable& table = trace.requests();
  Recording out{.shape = trace.shape(), .domains = table.domains};
  const std::size_t cells = out.cells(), words = out.words(), k = trace.shape().top_k;

  std::vector<std::size_t> kept;  // positions in tokens.requests()
  const std::vector<std::uint64_t> scored = tokens.scored_per_request();
  std::size_t first = 0;
  for (std::size_t i = 0; i < scored.size(); ++i) {
    const std::uint32_t r = tokens.requests()[i];
    const TokenSpans spans = token_spans(table.prefill_tokens[r], table.decode_tokens[r],
                                         tokens.choice().phase, tokens.choice().from);
    if (scored[i] > 0) {
      const auto prompt = static_cast<std::uint32_t>(spans.predict_end - spans.predict_begin);
      out.requests.push_back({.first = first,
                              .decode_tokens = static_cast<std::uint32_t>(scored[i]),
                              .prompt_tokens = prompt,
                              .counted_tokens = prompt,
                              .domain = table.domain[r]});
      kept.push_back(i);
    }
    first += static_cast<std::size_t>(scored[i]);
  }
  if (kept.empty()) {
    return bad_input(
        fmt::format("{}: no request has decode positions to simulate; choose other requests, "
                    "phase or predict_from",
                    trace.path()));
  }

  // Layers share words, so they are set one after the other.
  out.bits.assign(static_cast<std::size_t>(tokens.scored_tokens()) * words, 0);
  for (std::size_t row = 0; row < out.shape.layers.size(); ++row) {
    MOESAIC_ASSIGN(const std::vector<ExpertId> experts, tokens.read_layer(row));
    for (std::size_t i = 0; i < experts.size(); ++i) {
      if (experts[i] == kMissingExpert) continue;
      const std::size_t cell = row * out.shape.experts + index(experts[i]);
      out.bits[i / k * words + cell / 64] |= std::uint64_t{1} << (cell % 64);
    }
  }

  const auto copy_kept = [&](const std::vector<float>& all) {
    std::vector<float> values;
    values.reserve(kept.size() * cells);
    for (const std::size_t i : kept) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(i * cells);
      values.insert(values.end(), begin, begin + static_cast<std::ptrdiff_t>(cells));
    }
    return values;
  };
  MOESAIC_ASSIGN(const std::vector<float> predict, tokens.usage(evaluate::Part::kPredict, pool));
  out.prefill_counts = copy_kept(predict);
  MOESAIC_ASSIGN(const std::vector<float> score, tokens.usage(evaluate::Part::kScore, pool));
  out.decode_shares = copy_kept(score);
  for (std::size_t i = 0; i < out.requests.size(); ++i) {
    const auto tokens_of = static_cast<float>(out.requests[i].decode_tokens);
    for (std::size_t cell = 0; cell < cells; ++cell) {
      float& share = out.decode_shares[i * cells + cell];
      share = std::min(1.0f, share / tokens_of);
    }
  }
  return out;
}

}  // namespace moesaic::simulate
