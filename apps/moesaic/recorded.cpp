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

}  // namespace moesaic::app
