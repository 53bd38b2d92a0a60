// The replica chooser: which slot of an expert serves a token. One pure function of the token, the
// layer's slots and the rule, shared by evaluator, planner, simulator and replay.
//
// With candidates = the expert's slots in slot order, n of them, source = the token's home GPU:
//   local   a slot on the source GPU; else among those on its node, else among all: candidate source mod n
//   sglang  a slot on the source GPU; else the first on its node; else candidate source mod n
//           (SGLang, srt/eplb/expert_location.py, static dispatch)
//   vllm    candidate position mod n (vLLM, EPLB mapping by token index)
//   trtllm  candidate (source + rows so far of this layer, expert and source) mod n (TensorRT-LLM)
//   random  candidate h mod n, h = counter hash of (seed, layer, request, position, expert)
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "core/topology.hpp"

namespace moesaic::dispatch {

enum class Rule { kLocal, kSglang, kVllm, kTrtllm, kRandom };

inline constexpr Rule kRules[] = {Rule::kLocal, Rule::kSglang, Rule::kVllm, Rule::kTrtllm, Rule::kRandom};

std::string_view name(Rule rule);
Result<Rule> parse_rule(std::string_view text);

/// What a rule may look at besides the slots.
struct Row {
  ExpertId expert{};
  GpuId source{};              ///< the token's home GPU
  std::uint32_t request = 0;   ///< store index of the request (rule random)
  std::uint64_t position = 0;  ///< of the token in its request, prefill first (rules vllm and random)
};

/// The chooser of one layer. Holds the slot lists, and for trtllm the rows so far: feed it tokens in
/// request order. Construction O(P); choose O(replicas). Not thread-safe; one a thread and layer.
class Chooser {
 public:
  /// `slots` is the layer's slot -> expert. REQUIRES: valid ids, slots.size() % topology.gpus() == 0.
  Chooser(const Topology& topology, std::size_t experts, std::span<const ExpertId> slots, Rule rule,
          LayerId layer, std::uint64_t seed);

  /// GPU whose replica serves the row.
  GpuId choose(const Row& row);

  /// Candidates of an expert as GPUs, in slot order.
  std::span<const GpuId> candidates(ExpertId expert) const {
    const std::size_t e = index(expert);
    return std::span(gpus_).subspan(first_[e], first_[e + 1] - first_[e]);
  }

 private:
  Topology topology_;
  Rule rule_;
  LayerId layer_;
  std::uint64_t seed_;
  std::vector<std::uint32_t> first_;   ///< [E + 1], offsets into gpus_
  std::vector<GpuId> gpus_;            ///< [P]
  std::vector<std::uint32_t> so_far_;  ///< [E, GPUs], trtllm only
};

}  // namespace moesaic::dispatch
