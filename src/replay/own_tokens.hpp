// The tokens whose home is one GPU: who they are, which experts serve them where, in which micro-batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "core/topology.hpp"
#include "replay/options.hpp"
#include "trace/trace.hpp"

namespace moesaic::replay {

/// The tokens of one request that are replayed. Requests come in arrival order, in which replicas are chosen.
struct RequestSpan {
  std::uint32_t request = 0;  ///< store index
  HomeId home{};
  std::uint64_t position = 0;     ///< of the first token in its request, prefill first
  std::uint64_t store_token = 0;  ///< of the first token
  std::uint64_t count = 0;
  std::uint32_t group = 0;  ///< requests of a home with the same number run in step, groups in their order
};

struct Token {
  std::uint32_t request = 0;
  std::uint64_t position = 0;
  std::uint64_t store_token = 0;
  std::uint32_t group = 0;
  std::uint64_t step = 0;  ///< of its request's replayed tokens
};

/// Tokens at home on `gpu`, in the order of `requests`.
std::vector<Token> own_tokens(std::span<const RequestSpan> requests, const Topology& topology,
                              Attention attention, GpuId gpu);

/// Tokens group by group, in a group step by step, cut into batches of at most `size`, each a list of
/// positions.
std::vector<std::vector<std::uint32_t>> micro_batches(std::span<const Token> tokens, std::size_t size);

/// What each own token asks for in one layer: [tokens, k] experts, gates and serving GPUs.
struct LayerRouting {
  std::size_t k = 0;
  std::vector<ExpertId> experts;  ///< kMissingExpert: sends nothing
  std::vector<float> gates;       ///< the trace's weights, else equal shares; 0 where missing
  std::vector<GpuId> gpus;
};

/// Reads the layer and lets `dispatch` choose, in the order of `tokens`. O(tokens x (k + log tokens)).
/// Errors: the trace's.
Result<LayerRouting> route(const trace::Trace& trace, std::span<const Token> tokens,
                           const Placement& placement, std::size_t row, GpuId gpu, const Options& options);

}  // namespace moesaic::replay
