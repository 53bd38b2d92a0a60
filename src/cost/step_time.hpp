// The time of one decode step of one decoder. docs/cost.md gives the source of each term.
//
//   time = fixed + tokens x a + experts read x b + KV tokens x c + copies by link class x d
//
// The term that expert-aware routing moves is the second: in a memory-bound decode a step reads the
// weights of every distinct expert its batch activates, whatever the batch's size (arXiv:2607.00466, 2).
// All arithmetic is in integers, so that virtual time is the same on every machine.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/clock.hpp"
#include "core/config.hpp"
#include "core/result.hpp"
#include "cost/hardware.hpp"
#include "cost/model_preset.hpp"

namespace moesaic::cost {

/// What one step does. Where a decoder has several GPUs each count is that of the busiest one, layer by
/// layer: the others wait for it.
struct StepLoad {
  std::int64_t tokens = 0;       ///< sequences that run, one token each
  std::int64_t experts = 0;      ///< distinct experts read, summed over MoE layers
  std::int64_t kv_tokens = 0;    ///< tokens of context whose keys and values are read
  std::int64_t gpu_copies = 0;   ///< copies to other GPUs of the node, summed over layers
  std::int64_t node_copies = 0;  ///< copies to other nodes, summed over layers
};

/// Measured times over (tokens, experts), for those who have them: bilinear between the points, along the
/// outermost slope beyond them, never negative.
class StepTable {
 public:
  /// `tokens` and `experts` ascend strictly, two points or more each; `times` is [tokens, experts].
  /// Errors (bad input) say which rule is broken.
  static Result<StepTable> make(std::vector<std::int64_t> tokens, std::vector<std::int64_t> experts,
                                std::vector<Nanoseconds> times);
  /// O(log points).
  Nanoseconds at(std::int64_t tokens, std::int64_t experts) const;
  /// What one more token or expert adds there, averaged over the cell.
  Picoseconds token_slope(std::int64_t tokens, std::int64_t experts) const;
  Picoseconds expert_slope(std::int64_t tokens, std::int64_t experts) const;

  bool operator==(const StepTable&) const = default;

 private:
  /// In nanoseconds, not rounded, may be below zero outside the points.
  double plane(std::int64_t tokens, std::int64_t experts) const;

  std::vector<std::int64_t> tokens_, experts_;
  std::vector<Nanoseconds> times_;
};

struct StepTime {
  Nanoseconds fixed{0};         ///< launches, attention's weights, sampling, latencies of all-to-alls
  Picoseconds per_token{0};     ///< a sequence more in the batch
  Picoseconds per_expert{0};    ///< an expert's weights read
  Picoseconds per_kv_token{0};  ///< a token of context read
  Picoseconds per_gpu_copy{0};
  Picoseconds per_node_copy{0};
  /// When present it replaces fixed, per_token and per_expert.
  std::optional<StepTable> table;

  bool operator==(const StepTime&) const = default;
};

/// 0 for a step without tokens. Pure; O(1), with a table O(log points).
Nanoseconds step_time(const StepTime& model, const StepLoad& load);

/// What one more of each adds to a step near `load`: the model's own numbers, or a table's slopes there.
struct StepPrices {
  Picoseconds token{0}, expert{0}, kv_token{0};
};
StepPrices prices_near(const StepTime& model, const StepLoad& load);

/// What is not in the presets and must be said.
struct StepAssumptions {
  /// Attention, norms, router and launches of one model layer, whatever the batch.
  Nanoseconds fixed_per_layer{20'000};
  Picoseconds per_token{200'000};  ///< 0.2 us a sequence: sampling, activations
  double memory_efficiency = 0.8;  ///< of the HBM bandwidth, reached by grouped expert kernels
  std::size_t gpus = 1;            ///< of the decoder; more than one: two all-to-alls a MoE layer
  bool crosses_nodes = false;
};

/// A roofline of the memory-bound step: weights and KV at the HBM's bandwidth, copies at their link's.
StepTime roofline_step(const ModelPreset& model, const HardwarePreset& hardware,
                       const StepAssumptions& assumptions = {});

/// The step of ELDR's Figure 2 (arXiv:2607.00466): a MoE layer takes `growth` times as long with all
/// experts active as with one in eight, and batch size hardly matters. The paper does not print the rest
/// of the step: it is `rest_share` of a step that reads half of the experts.
struct EldrStep {
  double growth = 4.7;      ///< in (1, 8)
  double rest_share = 0.5;  ///< in [0, 1)
};
StepTime eldr_figure2_step(const ModelPreset& model, const HardwarePreset& hardware,
                           const EldrStep& options = {});

/// A `step:` block. `from: roofline` with hardware, fixed_per_layer, per_token_ns, memory_efficiency, gpus,
/// crosses_nodes; `from: eldr-figure-2` with hardware, growth, rest_share; or `from: measured` with fixed,
/// per_token_ns, per_expert_ns, per_kv_token_ns, per_gpu_copy_ns, per_node_copy_ns and, instead of the
/// first three, table: {tokens, experts, times_us: a list a token point}. Errors name file, line and key.
Result<StepTime> read_step_time(const ConfigNode& node, const ModelPreset& model);

}  // namespace moesaic::cost
