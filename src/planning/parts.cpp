#include "planning/parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>

namespace moesaic::planning {
namespace {

constexpr std::size_t kMostParts = 64;  // weights of parts are whole numbers up to a few times this

Parts windows_of(const Split& split, std::size_t windows) {
  Parts parts;
  const trace::RequestTable& table = split.planned().source().requests();
  const std::vector<std::uint64_t> tokens = split.planned().scored_per_request();
  const std::uint64_t all = std::max<std::uint64_t>(1, split.planned().scored_tokens());
  std::vector<std::uint64_t> first_key(windows);  // arrival of a window's first request
  std::uint64_t before = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto window = static_cast<std::uint16_t>(std::min(windows - 1, before * windows / all));
    if (parts.planned.empty() || parts.planned.back() != window)
      first_key[window] = evaluate::arrival_key(table, split.planned().requests()[i]);
    parts.planned.push_back(window);
    before += tokens[i];
  }
  for (const std::uint32_t request : split.scored().requests()) {
    const std::uint64_t key = evaluate::arrival_key(table, request);
    std::uint16_t window = 0;
    for (std::size_t w = 1; w < windows; ++w) {
      if (key >= first_key[w]) window = static_cast<std::uint16_t>(w);
    }
    parts.scored.push_back(window);
  }
  for (std::size_t w = 0; w < windows; ++w) parts.names.push_back(fmt::format("window {}", w));
  if (table.arrival_ns.empty()) {
    parts.said.push_back(
        "The trace holds no arrivals: windows are cut in the order of hashed ids and differ by chance "
        "alone.");
  }
  return parts;
}

Parts domains_of(const Split& split) {
  Parts parts;
  const trace::RequestTable& table = split.planned().source().requests();
  std::map<std::uint16_t, std::uint16_t> number;  // of a domain code, ascending
  for (const std::uint32_t request : split.planned().requests()) number.emplace(table.domain[request], 0);
  for (auto& [code, part] : number) {
    part = static_cast<std::uint16_t>(parts.names.size());
    parts.names.push_back(table.domains[code].empty() ? "(none)" : table.domains[code]);
  }
  const auto part_of = [&](std::uint32_t request) {
    const auto found = number.find(table.domain[request]);
    return found == number.end() ? kNoPart : found->second;
  };
  for (const std::uint32_t request : split.planned().requests()) parts.planned.push_back(part_of(request));
  for (const std::uint32_t request : split.scored().requests()) parts.scored.push_back(part_of(request));
  return parts;
}

}  // namespace

Result<PartChoice> parse_parts(std::string_view text) {
  if (text == "domains") return PartChoice{.by_domain = true, .windows = 0};
  constexpr std::string_view kWindows = "windows:";
  PartChoice choice;
  if (text.starts_with(kWindows)) {
    const std::string_view number = text.substr(kWindows.size());
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), choice.windows);
    if (error == std::errc() && end == number.data() + number.size() && choice.windows >= 2 &&
        choice.windows <= kMostParts) {
      return choice;
    }
  }
  return bad_input(fmt::format("--robust {}: expected domains, or windows:K with K from 2 to {}.",
                               text.substr(0, 60), kMostParts));
}

Result<Parts> parts_of(const Split& split, const PartChoice& choice) {
  Parts parts = choice.by_domain ? domains_of(split) : windows_of(split, choice.windows);
  std::vector<bool> any(parts.size());
  for (const std::uint16_t part : parts.planned) any[part] = true;
  const auto filled = static_cast<std::size_t>(std::ranges::count(any, true));
  if (filled < 2 || filled < parts.size() || parts.size() > kMostParts) {
    return bad_input(fmt::format(
        "--robust: {} parts, {} of them with requests to plan on; expected 2 to {}, none empty: {}.",
        parts.size(), filled, kMostParts,
        choice.by_domain ? "choose fewer with --domains, or use windows:K" : "use fewer windows"));
  }
  return parts;
}

}  // namespace moesaic::planning
