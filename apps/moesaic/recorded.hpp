// Traces as serving commands read them.
#pragma once

#include <string>

#include "command.hpp"
#include "core/selection.hpp"
#include "simulate/recording.hpp"

namespace moesaic::app {

/// The requests of a store with decode tokens, with what stands in for their prefill. `set`: the split that
/// `moesaic fit` makes by default (one in five held out, seed 0).
Result<simulate::Recording> read_recorded(Context& context, const std::string& store,
                                          RequestSet set = RequestSet::kAll);

}  // namespace moesaic::app
