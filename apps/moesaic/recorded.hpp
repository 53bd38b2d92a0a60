// Traces as serving commands read them.
#pragma once

#include <string>

#include "command.hpp"
#include "simulate/recording.hpp"

namespace moesaic::app {

/// All requests of a store with decode tokens, with what stands in for their prefill.
Result<simulate::Recording> read_recorded(Context& context, const std::string& store);

}  // namespace moesaic::app
