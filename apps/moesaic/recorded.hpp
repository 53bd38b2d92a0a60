// Traces as serving commands read them.
#pragma once

#include <string>

#include "command.hpp"
#include "signature/prediction.hpp"
#include "simulate/recording.hpp"

namespace moesaic::app {

/// All requests of a store with decode tokens, with what stands in for their prefill.
Result<simulate::Recording> read_recorded(Context& context, const std::string& store);

/// What those requests teach about decode usage from prefill usage.
Result<signature::Predictor> learn_predictor(const simulate::Recording& recording);

}  // namespace moesaic::app
