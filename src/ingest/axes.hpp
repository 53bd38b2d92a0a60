// What the axes of an array mean, as indexes and --axes say it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "core/json.hpp"
#include "core/result.hpp"

namespace moesaic::ingest {

enum class Axis { kToken, kLayer, kTopK, kWindow, kRequest, kExpert };

struct Axes {
  std::vector<Axis> order;
  /// Layer ids of the layer axis, where they are said: "layer(1..26)".
  std::vector<LayerId> layers;

  bool are(std::initializer_list<Axis> expected) const;
};

/// Words or first letters, with or without commas: "token,layer(1..26),k", "tlk", "wle", "l(3..77),e".
/// Errors (bad input) name `where`: an unknown word, an axis twice, a layer range that is none.
Result<Axes> parse_axes(std::string_view text, const std::string& where);
/// The text form, or a list of words.
Result<Axes> parse_json_axes(const Json& json, const std::string& where);

/// `axes.layers` when given (their number must be `planes`), else 0, 1, ..., planes - 1.
Result<std::vector<LayerId>> layer_planes(const Axes& axes, std::size_t planes, const std::string& where);

}  // namespace moesaic::ingest
