// The loads of a counts store, by phase and domain, and by window.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "profile/domains.hpp"
#include "profile/layer_pass.hpp"
#include "trace/trace.hpp"

namespace moesaic::profile {

struct CountLoads {
  std::vector<std::string> domains;
  std::array<Loads, kPhases> loads;     ///< [L, domains, E]
  std::array<double, kPhases> rows{};   ///< sums of the loads
  std::size_t main_phase = kDecodeRow;  ///< decode where there is any, else prefill, else unknown
  Loads windows;                        ///< [L, windows, E], of the main phase; gaps in the numbers closed
  std::uint64_t tokens = 0;             ///< as far as rows tell
};

/// REQUIRES: a counts store. A row is read at a time. Errors: the trace's; nothing was counted.
Result<CountLoads> read_count_loads(const trace::Trace& trace, std::size_t max_domains);

}  // namespace moesaic::profile
