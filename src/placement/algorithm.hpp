// One interface for every placement algorithm, and the list of them. An algorithm is a pure function of
// the problem: same problem, same bytes, at any thread count. One file an algorithm in this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "core/topology.hpp"
#include "placement/pins.hpp"
#include "traffic/score.hpp"
#include "traffic/tokens.hpp"

namespace moesaic::placement {

/// The planning tokens of one layer.
struct LayerDemand {
  std::vector<ExpertId> experts;               ///< [tokens, k]
  std::span<const traffic::Segment> segments;  ///< with homes; owned by the Demand
  /// By segment: how often each of its tokens counts; empty = once. Owned by the Demand.
  std::span<const std::uint32_t> weights = {};

  traffic::LayerTokens view(LayerId layer, std::size_t k) const { return {layer, k, experts, segments}; }
};

/// What the plan is made for. Thread-safe for concurrent layer() calls.
class Demand {
 public:
  virtual ~Demand() = default;
  virtual const ModelShape& shape() const = 0;
  /// Load of every expert, [L, E]: rows, or shares where the trace has only those.
  virtual std::span<const double> loads() const = 0;
  /// False for a counts-only trace: then only load-based algorithms can plan.
  virtual bool has_tokens() const = 0;
  /// Domain code of every segment's request, in the segments' order, the
  /// same for every layer; empty: no labels.
  virtual std::span<const std::uint32_t> domains() const { return {}; }
  /// REQUIRES: has_tokens(). Cost: reads the layer.
  virtual Result<LayerDemand> layer(std::size_t row) const = 0;
};

/// Ranks of a job that share the layers of one problem. Every rank calls place() on the same problem.
class LayerShare {
 public:
  virtual ~LayerShare() = default;
  /// Calls body(row) for this rank's share of `layers` rows, on the pool where there is one. Which rows those
  /// are depends on how long others take, and results must not depend on it; every run deals them anew.
  virtual Status run(std::size_t layers, ThreadPool* pool,
                     const std::function<Status(std::size_t row)>& body) = 0;
  /// Whether the last run() gave this rank the layer.
  virtual bool mine(std::size_t row) const = 0;
  /// Adds element by element over the ranks, or hands on the error of the first that failed.
  virtual Status sum(std::span<std::int64_t> values, const Status& mine) const = 0;
};

struct Problem {
  const Demand& demand;
  Topology topology;
  std::size_t slots_per_gpu = 0;
  traffic::Objective objective;
  std::uint64_t seed = 0;
  std::size_t expert_groups = 1;  ///< G of DeepSeek's group-limited routing (EPLB's hierarchical policy)
  double max_imbalance = 0;       ///< --max-imbalance, per layer on nodes and GPUs; 0 = no limit
  /// --mean-imbalance: that of nodes, mean over layers, as unseen requests will find it (unseen_loads.hpp); 0
  /// = what the algorithm takes. REQUIRES, where given: shares_imbalance(), max_imbalance 0, two nodes or
  /// more, no replicas, pins or running placement.
  double mean_imbalance = 0;
  bool per_expert = false;   ///< copies are counted per row (low-latency kernels), else per distinct node
  std::uint64_t effort = 1;  ///< work units, multiplies an algorithm's search
  /// The running placement, for algorithms that change one (swift, vllm-eplb; moesaic without replicas
  /// searches from it): same topology, layers and slots. nullptr = there is none.
  const Placement* from = nullptr;
  std::span<const Pin> pins = {};  ///< as checked_pins() gives them; empty unless keeps_pins()
  ThreadPool* pool = nullptr;      ///< nullptr = on the caller
  LayerShare* share = nullptr;     ///< nullptr = this rank plans every layer
};

/// How good an answer is known to be.
enum class Proof { kHeuristic, kProven };

struct Solution {
  Placement placement;
  Proof proof = Proof::kHeuristic;
  std::vector<std::string> notes;  ///< full sentences for the person who reads the plan
};

class Algorithm {
 public:
  virtual ~Algorithm() = default;
  virtual std::string_view name() const = 0;
  /// One line for `moesaic algorithms`.
  virtual std::string_view summary() const = 0;
  /// Where it comes from: author, year, paper section or public source.
  virtual std::string_view source() const = 0;
  virtual bool needs_tokens() const = 0;
  /// Whether it honours LayerDemand::weights.
  virtual bool weighs_tokens() const { return false; }
  /// Whether it honours Problem::mean_imbalance.
  virtual bool shares_imbalance() const { return false; }
  /// Whether it honours Problem::pins.
  virtual bool keeps_pins() const { return false; }
  /// REQUIRES: slots_per_gpu x GPUs >= E; needs_tokens() implies demand.has_tokens().
  virtual Result<Solution> place(const Problem& problem) const = 0;
};

/// All algorithms, in the order `moesaic algorithms` lists them.
std::span<const Algorithm* const> algorithms();
/// nullptr-free lookup; the error lists the names there are.
Result<const Algorithm*> find_algorithm(std::string_view name);

}  // namespace moesaic::placement
