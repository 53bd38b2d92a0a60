// The chance that each (layer, expert) is active in a running batch, kept as requests come and go.
//
// Requests choose experts independently given their probabilities, so an expert stays idle in a step with
// probability prod(1 - p). Each request is stored as whole numbers of -ln(1 - p): sums are exact however
// long the process runs, and adding and removing a request in any order gives the same bytes.
//
// A request that joins now will not run beside this very batch all its life: those who are here leave, and
// others come, who resemble whom the worker got lately. The memory is that typical request: an exponentially
// weighted mean, in which each new one weighs 1 / `requests`. At first it spans fewer, 1 + n / 4 after n more
// than one, for what came first says least of what the worker is becoming. What a request truly activated,
// told when it ended, is remembered beside what was foretold of it (the memory then spans half as many).
// later() is what is idle in a batch of as many requests, of which `share` are typical ones; requests of
// others stay what they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace moesaic::routing {

/// -ln(1 - p) in units of 1/1024: [L, E] of one request.
using Survival = std::uint16_t;

/// p to Survival by a table of 4096 steps: p is taken to the nearest 1/4095, at most 8 nats.
/// REQUIRES: equal sizes. O(cells), no allocation. Values outside [0, 1], NaN included, are taken to it.
void to_survival(std::span<const float> probabilities, std::span<Survival> out);

struct UsageMemory {
  double requests = 64;  ///< that it spans, >= 1
  double share = 1;      ///< in [0, 1] of typical requests in the batch that is expected later
};

class UsageSum {
 public:
  /// `order` [cells] lists the cells in the order in which idle() holds them (by layer, then by rank).
  explicit UsageSum(std::vector<std::uint32_t> order, const UsageMemory& memory = {});

  /// All events: O(cells), no allocation. The memory outlasts the requests it is made of.
  void add(std::span<const Survival> request);
  /// Into the memory alone, which spans no more requests by it.
  void remember(std::span<const Survival> request);
  /// REQUIRES: what is removed was added.
  void remove(std::span<const Survival> request);
  /// `times` requests of unknown usage run beside the added ones, each as `request`. Replaces what was set
  /// before; times 0 clears it.
  void set_others(std::span<const Survival> request, std::uint32_t times);

  /// Probability that each cell is idle in a step, in `order`. To within 0.1 % of the product.
  std::span<const float> idle() const { return idle_; }
  /// The same of the batch that is expected later; before anything was added or remembered, idle().
  std::span<const float> later() const { return later_; }
  /// Expected distinct experts that a step reads, summed over layers: cells - sum(idle).
  double active() const { return active_; }

 private:
  /// The request in `order`.
  const Survival* ordered(std::span<const Survival> request);
  void refresh();

  std::vector<std::uint32_t> order_;  ///< empty: in order
  UsageMemory options_;
  // By position in the order:
  std::vector<std::int32_t> sum_;  ///< others included
  std::vector<std::int32_t> others_;
  std::vector<std::int32_t> mixed_;  ///< working memory
  std::vector<float> memory_;        ///< units of the typical request
  std::vector<float> idle_, later_;
  std::vector<Survival> ordered_;  ///< working memory; empty where in order
  std::uint32_t requests_ = 0, other_requests_ = 0;
  double remembered_ = 0;  ///< requests in the memory, at most options_.requests
  double active_ = 0;
};

}  // namespace moesaic::routing
