// Pins as people write them: LAYER:EXPERT:NODE or LAYER:EXPERT:NODE.GPU, the layer by its index among all
// model layers or * for every MoE layer, the GPU by its index in the node.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "placement/pins.hpp"

namespace moesaic::planning {

/// The pins of one text, of every MoE layer where it says *. Errors (bad input) begin with `where`: a text of
/// another form, a layer that has no experts. O(layers).
Result<std::vector<placement::Pin>> parse_pin(std::string_view text, const ModelShape& shape,
                                              const std::string& where);

/// A file of pins, one a line; empty lines and what follows a # are left out. Errors name `where` and the
/// line.
Result<std::vector<placement::Pin>> parse_pin_file(std::string_view text, const ModelShape& shape,
                                                   const std::string& where);

/// As texts that parse_pin() reads.
Json pins_json(std::span<const placement::Pin> pins, const ModelShape& shape);

}  // namespace moesaic::planning
