// The requests of a split cut into parts that a robust plan must serve: windows of time, or domains.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "planning/split.hpp"

namespace moesaic::planning {

struct PartChoice {
  bool by_domain = false;
  std::size_t windows = 0;  ///< where not by_domain
};

/// "windows:K" with 2 <= K <= 64, or "domains". Errors (bad input) quote the text.
Result<PartChoice> parse_parts(std::string_view text);

/// A request that is in no part: of a domain that is only scored.
inline constexpr std::uint16_t kNoPart = 0xFFFF;

struct Parts {
  std::vector<std::string> names;      ///< "window 0", ... or the domains, in code order
  std::vector<std::uint16_t> planned;  ///< part of every request of split.planned().requests(), in that order
  std::vector<std::uint16_t> scored;   ///< the same of split.scored()
  std::vector<std::string> said;       ///< what was assumed, full sentences

  std::size_t size() const { return names.size(); }
};

/// Windows hold as even a number of planned tokens as whole requests allow; a scored request is in the window
/// that was running when it arrived. Domains are those with planned requests.
/// Errors (bad input): fewer than two parts, or more than 64.
Result<Parts> parts_of(const Split& split, const PartChoice& choice);

}  // namespace moesaic::planning
