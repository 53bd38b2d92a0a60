#include "planning/pin_list.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace moesaic::planning {
namespace {

constexpr std::size_t kMaxPins = 1'000'000;  // of a file: bounds its memory

/// Takes a number below 65535 from the front of `text`.
bool take(std::string_view& text, std::uint16_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value == placement::Pin::kAnyGpu) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}
bool take(std::string_view& text, char wanted) {
  if (!text.starts_with(wanted)) return false;
  text.remove_prefix(1);
  return true;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

}  // namespace

Result<std::vector<placement::Pin>> parse_pin(std::string_view text, const ModelShape& shape,
                                              const std::string& where) {
  std::string_view left = text;
  std::uint16_t layer = 0, expert = 0;
  placement::Pin pin;
  const bool every = take(left, '*');
  bool good = (every || take(left, layer)) && take(left, ':') && take(left, expert) && take(left, ':') &&
              take(left, pin.node);
  if (good && !left.empty()) good = take(left, '.') && take(left, pin.gpu) && left.empty();
  if (!good) {
    return bad_input(
        fmt::format("{}: found \"{}\", expected LAYER:EXPERT:NODE or LAYER:EXPERT:NODE.GPU in whole numbers, "
                    "LAYER * for all.",
                    where, text.substr(0, 60)));
  }
  pin.expert = ExpertId(expert);
  std::vector<placement::Pin> pins;
  for (pin.row = 0; pin.row < shape.layers.size(); ++pin.row) {
    if (every || shape.layers[pin.row] == LayerId(layer)) pins.push_back(pin);
  }
  if (pins.empty()) {
    return bad_input(
        fmt::format("{}: \"{}\": layer {} of the model has no experts; `moesaic info` lists the "
                    "MoE layers.",
                    where, text.substr(0, 60), layer));
  }
  return pins;
}

Result<std::vector<placement::Pin>> parse_pin_file(std::string_view text, const ModelShape& shape,
                                                   const std::string& where) {
  std::vector<placement::Pin> pins;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view whole = text.substr(0, end);
    const std::string_view pin = trimmed(whole.substr(0, whole.find('#')));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pin.empty()) continue;
    MOESAIC_ASSIGN(const std::vector<placement::Pin> more,
                   parse_pin(pin, shape, fmt::format("{}, line {}", where, line)));
    pins.insert(pins.end(), more.begin(), more.end());
    if (pins.size() > kMaxPins) {
      return bad_input(
          fmt::format("{}, line {}: more than {} pins (* counts one a layer); no plan has room for them.",
                      where, line, kMaxPins));
    }
  }
  return pins;
}

Json pins_json(std::span<const placement::Pin> pins, const ModelShape& shape) {
  Json::Array texts;
  for (const placement::Pin& pin : pins) {
    std::string text = fmt::format("{}:{}:{}", index(shape.layers[pin.row]), index(pin.expert), pin.node);
    if (pin.gpu != placement::Pin::kAnyGpu) text += fmt::format(".{}", pin.gpu);
    texts.emplace_back(std::move(text));
  }
  return texts;
}

}  // namespace moesaic::planning
