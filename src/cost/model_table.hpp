// The built-in models' numbers. Use cost/model_preset.hpp.
#pragma once

#include <vector>

#include "cost/model_preset.hpp"

namespace moesaic::cost {

/// Sorted by name; every entry is valid.
std::vector<ModelPreset> model_table();

}  // namespace moesaic::cost
