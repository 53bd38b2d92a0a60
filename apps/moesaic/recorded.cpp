#include "recorded.hpp"

#include <fmt/format.h>

#include <numeric>

#include "evaluate/selected_tokens.hpp"
#include "trace/trace.hpp"

namespace moesaic::app {

Result<simulate::Recording> read_recorded(Context& context, const std::string& store) {
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(context.files, store));
  if (trace.kind() != trace::Kind::kTokens) {
    return bad_input(fmt::format("{}: expected a store of tokens; it holds counts", store));
  }
  const evaluate::PhaseChoice phases = evaluate::default_phases(trace);
  std::vector<std::uint32_t> all(trace.requests().size());
  std::iota(all.begin(), all.end(), 0u);
  const evaluate::SelectedTokens tokens(
      trace, {.requests = std::move(all), .phase = phases.phase, .from = phases.from});
  ThreadPool pool;
  return simulate::read_recording(tokens, pool);
}

Result<signature::Predictor> learn_predictor(const simulate::Recording& recording) {
  const std::size_t layers = recording.shape.layers.size(), experts = recording.shape.experts;
  const std::size_t cells = recording.cells();
  std::vector<float> decode(recording.requests.size() * cells);
  std::vector<std::uint32_t> prefill_tokens, decode_tokens;
  for (std::size_t r = 0; r < recording.requests.size(); ++r) {
    const simulate::RecordedRequest& request = recording.requests[r];
    prefill_tokens.push_back(request.counted_tokens);
    decode_tokens.push_back(request.decode_tokens);
    for (std::size_t t = 0; t < request.decode_tokens; ++t) {
      const std::uint64_t* row = recording.bits.data() + (request.first + t) * recording.words();
      for (std::size_t cell = 0; cell < cells; ++cell) {
        decode[r * cells + cell] += static_cast<float>(row[cell / 64] >> cell % 64 & 1);
      }
    }
  }
  ThreadPool pool;
  return signature::fit_predictor({.prefill = {layers, experts, recording.prefill_counts},
                                   .decode = {layers, experts, decode},
                                   .prefill_tokens = prefill_tokens,
                                   .decode_tokens = decode_tokens},
                                  {}, pool);
}

}  // namespace moesaic::app
