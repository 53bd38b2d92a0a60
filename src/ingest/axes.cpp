#include "ingest/axes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/limits.hpp"

namespace moesaic::ingest {
namespace {

struct Word {
  std::string_view word;
  Axis axis;
};
// A letter stands for the word it begins.
constexpr Word kWords[] = {{"token", Axis::kToken},   {"layer", Axis::kLayer},     {"k", Axis::kTopK},
                           {"window", Axis::kWindow}, {"request", Axis::kRequest}, {"expert", Axis::kExpert}};

std::optional<Axis> axis_of(std::string_view word) {
  for (const Word& known : kWords) {
    if (word == known.word || word == known.word.substr(0, 1)) return known.axis;
  }
  return std::nullopt;
}

/// Splits off the first word: letters, or one letter where words are not separated.
std::string_view take_word(std::string_view& text) {
  const std::size_t letters = static_cast<std::size_t>(
      std::ranges::find_if(text, [](char c) { return c < 'a' || c > 'z'; }) - text.begin());
  const std::size_t length = axis_of(text.substr(0, letters)) ? letters : std::min<std::size_t>(letters, 1);
  const std::string_view word = text.substr(0, length);
  text.remove_prefix(length);
  return word;
}

/// "(3..77)" at the start of `text`.
std::optional<std::vector<LayerId>> take_range(std::string_view& text) {
  unsigned first = 0, last = 0;
  const char* end = text.data() + text.size();
  const auto [middle, bad_first] = std::from_chars(text.data() + 1, end, first);
  if (bad_first != std::errc{} || end - middle < 3 || middle[0] != '.' || middle[1] != '.')
    return std::nullopt;
  const auto [after, bad_last] = std::from_chars(middle + 2, end, last);
  if (bad_last != std::errc{} || after == end || *after != ')' || last < first ||
      last >= limits::kMaxLayers) {
    return std::nullopt;
  }
  std::vector<LayerId> layers;
  for (unsigned layer = first; layer <= last; ++layer)
    layers.push_back(LayerId(static_cast<std::uint16_t>(layer)));
  text.remove_prefix(static_cast<std::size_t>(after + 1 - text.data()));
  return layers;
}

}  // namespace

bool Axes::are(std::initializer_list<Axis> expected) const { return std::ranges::equal(order, expected); }

Result<Axes> parse_axes(std::string_view text, const std::string& where) {
  const std::string_view whole = text;
  const auto refuse = [&](std::string_view what) {
    return bad_input(fmt::format(
        "{}: axes \"{:.80}\" {}; expected words among token, layer, k, window, request, expert or their "
        "first letters, such as \"tlk\", \"wle\" or \"l(3..77),e\"",
        where, whole, what));
  };
  Axes axes;
  while (!text.empty()) {
    if (text.front() == ',' || text.front() == ' ') {
      text.remove_prefix(1);
      continue;
    }
    const auto axis = axis_of(take_word(text));
    if (!axis) return refuse("hold a word that is not known");
    if (std::ranges::find(axes.order, *axis) != axes.order.end()) return refuse("hold an axis twice");
    axes.order.push_back(*axis);
    if (text.starts_with('(')) {
      auto layers = take_range(text);
      if (*axis != Axis::kLayer || !layers) return refuse("hold a range that is no range of layers");
      axes.layers = std::move(*layers);
    }
  }
  return axes;
}

Result<Axes> parse_json_axes(const Json& json, const std::string& where) {
  if (const std::string* text = json.as_string()) return parse_axes(*text, where);
  std::string joined;
  for (const Json& word : json.is_array() ? *json.as_array() : Json::Array{}) {
    if (!word.is_string())
      return bad_input(fmt::format("{}: axes hold {}, expected words", where, word.dump()));
    joined += *word.as_string() + ",";
  }
  return parse_axes(joined, where);
}

Result<std::vector<LayerId>> layer_planes(const Axes& axes, std::size_t planes, const std::string& where) {
  if (planes == 0 || planes > limits::kMaxLayers) {
    return bad_input(fmt::format("{}: {} layers, expected 1 to {}", where, planes, limits::kMaxLayers));
  }
  if (!axes.layers.empty()) {
    if (axes.layers.size() == planes) return axes.layers;
    return bad_input(fmt::format("{}: {} layers, but the axes name layers {} to {}", where, planes,
                                 index(axes.layers.front()), index(axes.layers.back())));
  }
  std::vector<LayerId> out(planes);
  for (std::size_t p = 0; p < planes; ++p) out[p] = LayerId(static_cast<std::uint16_t>(p));
  return out;
}

}  // namespace moesaic::ingest
