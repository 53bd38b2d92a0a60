#include "core/config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace moesaic {
namespace {

bool same(std::string_view a, std::string_view b) { return a == b; }

template <class Names>
std::string listed(const Names& names) {
  std::string out;
  for (const std::string_view name : names) out += (out.empty() ? "" : ", ") + std::string(name);
  return out;
}

std::string_view kind_name(ConfigNode::Kind kind) {
  switch (kind) {
    case ConfigNode::Kind::kNull:
      return "nothing";
    case ConfigNode::Kind::kScalar:
      return "a value";
    case ConfigNode::Kind::kSequence:
      return "a list";
    case ConfigNode::Kind::kMapping:
      return "a mapping";
  }
  return "";
}

constexpr std::pair<std::string_view, std::int64_t> kUnits[] = {{"ns", 1},
                                                                {"us", 1'000},
                                                                {"ms", 1'000'000},
                                                                {"s", 1'000'000'000},
                                                                {"m", 60'000'000'000},
                                                                {"h", 3'600'000'000'000}};

std::string print(Nanoseconds time) { return fmt::format("{}ns", time.count()); }

}  // namespace

Result<Nanoseconds> parse_duration(std::string_view text) {
  const auto wrong = [&] {
    return bad_input(fmt::format(
        "duration \"{}\": expected a number and a unit of ns, us, ms, s, m or h, such as 250ms", text));
  };
  const std::size_t split = text.find_first_not_of("0123456789.");
  if (split == 0 || split == std::string_view::npos) return wrong();
  const std::string_view digits = text.substr(0, split);
  const auto unit =
      std::ranges::find(kUnits, text.substr(split), &std::pair<std::string_view, std::int64_t>::first);
  if (unit == std::end(kUnits)) return wrong();
  const std::size_t point = digits.find('.');
  const std::string_view whole = digits.substr(0, point);
  const std::string_view part = point == std::string_view::npos ? "" : digits.substr(point + 1);
  if (whole.empty() || whole.size() > 9 || part.size() > 9 || part.find('.') != std::string_view::npos ||
      (point != std::string_view::npos && part.empty())) {
    return wrong();
  }
  std::int64_t units = 0, fraction = 0, scale = 1;
  for (const char digit : whole) units = units * 10 + (digit - '0');
  for (const char digit : part) fraction = fraction * 10 + (digit - '0'), scale *= 10;
  if (units > INT64_MAX / 4 / unit->second) return wrong();
  // fraction < scale <= 1e9 and the unit <= 3.6e12 ns: the product needs care only above seconds.
  const auto extra = static_cast<std::int64_t>(
      std::llround(static_cast<long double>(fraction) * static_cast<long double>(unit->second) /
                   static_cast<long double>(scale)));
  return Nanoseconds(units * unit->second + extra);
}

std::string ConfigNode::place() const { return fmt::format("{}, line {}", file_ ? *file_ : "", line_); }

tl::unexpected<Error> ConfigNode::wrong(std::string_view key, std::string_view expected) const {
  const std::string found =
      kind_ == Kind::kScalar ? fmt::format("\"{}\"", scalar_.substr(0, 80)) : std::string(kind_name(kind_));
  return bad_input(fmt::format("{}: {} is {}, expected {}", place(), key, found, expected));
}

Status ConfigNode::check_keys(std::initializer_list<std::string_view> known) const {
  if (kind_ != Kind::kMapping) {
    return bad_input(fmt::format("{}: found {}, expected a mapping with keys of: {}", place(),
                                 kind_name(kind_), listed(known)));
  }
  for (const auto& [key, node] : members_) {
    if (std::ranges::none_of(known, [&](std::string_view name) { return same(name, key); })) {
      return bad_input(
          fmt::format("{}: unknown key \"{}\", expected one of: {}", node.place(), key, listed(known)));
    }
  }
  return {};
}

const ConfigNode* ConfigNode::find(std::string_view key) const {
  for (const auto& [name, node] : members_) {
    if (name == key) return &node;
  }
  return nullptr;
}

Result<const ConfigNode*> ConfigNode::at(std::string_view key) const {
  if (const ConfigNode* node = find(key)) return node;
  return bad_input(fmt::format("{}: key \"{}\" is missing; add it", place(), key));
}

Result<std::span<const ConfigNode>> ConfigNode::list(std::string_view key) const {
  MOESAIC_ASSIGN(const ConfigNode* node, at(key));
  if (node->kind_ != Kind::kSequence) return node->wrong(key, "a list");
  return std::span<const ConfigNode>(node->items_);
}

Result<std::string> ConfigNode::to_text(std::string_view key) const {
  if (kind_ != Kind::kScalar) return wrong(key, "a text");
  return scalar_;
}

Result<std::uint64_t> ConfigNode::to_count(std::string_view key, std::uint64_t min, std::uint64_t max) const {
  std::uint64_t value = 0;
  const char* end = scalar_.data() + scalar_.size();
  const auto [at, error] = std::from_chars(scalar_.data(), end, value);
  if (kind_ != Kind::kScalar || error != std::errc() || at != end || value < min || value > max) {
    return wrong(key, fmt::format("a whole number from {} to {}", min, max));
  }
  return value;
}

Result<double> ConfigNode::to_number(std::string_view key, double min, double max) const {
  double value = 0;
  const char* end = scalar_.data() + scalar_.size();
  const auto [at, error] = std::from_chars(scalar_.data(), end, value);
  if (kind_ != Kind::kScalar || error != std::errc() || at != end || !(value >= min && value <= max)) {
    return wrong(key, fmt::format("a number from {} to {}", min, max));
  }
  return value;
}

Result<std::string> ConfigNode::text(std::string_view key) const {
  MOESAIC_ASSIGN(const ConfigNode* node, at(key));
  return node->to_text(key);
}

Result<std::string> ConfigNode::text_or(std::string_view key, std::string fallback) const {
  if (!find(key)) return fallback;
  return text(key);
}

Result<std::uint64_t> ConfigNode::count(std::string_view key, std::uint64_t min, std::uint64_t max) const {
  MOESAIC_ASSIGN(const ConfigNode* node, at(key));
  return node->to_count(key, min, max);
}

Result<std::uint64_t> ConfigNode::count_or(std::string_view key, std::uint64_t fallback, std::uint64_t min,
                                           std::uint64_t max) const {
  if (!find(key)) return fallback;
  return count(key, min, max);
}

Result<double> ConfigNode::number(std::string_view key, double min, double max) const {
  MOESAIC_ASSIGN(const ConfigNode* node, at(key));
  return node->to_number(key, min, max);
}

Result<double> ConfigNode::number_or(std::string_view key, double fallback, double min, double max) const {
  if (!find(key)) return fallback;
  return number(key, min, max);
}

Result<bool> ConfigNode::flag_or(std::string_view key, bool fallback) const {
  MOESAIC_ASSIGN(const std::size_t chosen, choice_or(key, fallback ? 1 : 0, {"false", "true"}));
  return chosen == 1;
}

Result<Nanoseconds> ConfigNode::duration(std::string_view key, Nanoseconds min, Nanoseconds max) const {
  MOESAIC_ASSIGN(const ConfigNode* node, at(key));
  const auto value = parse_duration(node->scalar_);
  if (node->kind_ != Kind::kScalar || !value || *value < min || *value > max) {
    return node->wrong(key, fmt::format("a duration such as 250ms, from {} to {}", print(min), print(max)));
  }
  return *value;
}

Result<Nanoseconds> ConfigNode::duration_or(std::string_view key, Nanoseconds fallback, Nanoseconds min,
                                            Nanoseconds max) const {
  if (!find(key)) return fallback;
  return duration(key, min, max);
}

Result<std::size_t> ConfigNode::choice(std::string_view key,
                                       std::initializer_list<std::string_view> choices) const {
  MOESAIC_ASSIGN(const ConfigNode* node, at(key));
  if (node->kind_ == Kind::kScalar) {
    const auto found = std::ranges::find(choices, std::string_view(node->scalar_));
    if (found != choices.end()) return static_cast<std::size_t>(found - choices.begin());
  }
  return node->wrong(key, "one of " + listed(choices));
}

Result<std::size_t> ConfigNode::choice_or(std::string_view key, std::size_t fallback,
                                          std::initializer_list<std::string_view> choices) const {
  if (!find(key)) return fallback;
  return choice(key, choices);
}

}  // namespace moesaic
