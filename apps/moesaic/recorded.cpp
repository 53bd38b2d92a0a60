#include "recorded.hpp"

#include <fmt/format.h>

#include "evaluate/selected_tokens.hpp"
#include "trace/trace.hpp"

namespace moesaic::app {

Result<simulate::Recording> read_recorded(Context& context, const std::string& store, RequestSet set) {
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(context.files, store));
  if (trace.kind() != trace::Kind::kTokens) {
    return bad_input(fmt::format("{}: expected a store of tokens; it holds counts", store));
  }
  const evaluate::PhaseChoice phases = evaluate::default_phases(trace);
  const trace::RequestTable& table = trace.requests();
  const evaluate::SelectedTokens tokens(trace, {.requests = select_requests(table.id, table.domain, set, 0),
                                                .phase = phases.phase,
                                                .from = phases.from});
  ThreadPool pool;
  return simulate::read_recording(tokens, pool);
}

}  // namespace moesaic::app
