#include "replay/own_tokens.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace moesaic::replay {
namespace {

/// Read granularity: the store's inner chunk, so that no chunk is decoded twice.
constexpr std::uint64_t kBlock = 16'384;

/// Calls read(begin, end) whenever a token lies outside the last block, then use(token index, offset in it).
template <class Read, class Use>
Status for_tokens_in_store_order(const trace::Trace& trace, std::span<const Token> tokens, Read read,
                                 Use use) {
  std::vector<std::uint32_t> order(tokens.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, {}, [&](std::uint32_t t) { return tokens[t].store_token; });
  std::uint64_t begin = 0, end = 0;
  for (const std::uint32_t t : order) {
    const std::uint64_t at = tokens[t].store_token;
    if (at >= end) {
      begin = at / kBlock * kBlock;
      end = std::min(begin + kBlock, trace.tokens());
      MOESAIC_TRY(read(begin, end));
    }
    use(t, static_cast<std::size_t>(at - begin));
  }
  return {};
}

/// Equal shares of the experts a token has.
void share_equally(std::span<const ExpertId> experts, std::span<float> gates) {
  const auto there = experts.size() - static_cast<std::size_t>(std::ranges::count(experts, kMissingExpert));
  for (std::size_t j = 0; j < experts.size(); ++j) {
    gates[j] = experts[j] == kMissingExpert ? 0.0f : 1.0f / static_cast<float>(there);
  }
}

}  // namespace

std::vector<Token> own_tokens(std::span<const RequestSpan> requests, const Topology& topology,
                              Attention attention, GpuId gpu) {
  std::vector<Token> tokens;
  for (const RequestSpan& span : requests) {
    if (topology.node_of_home(span.home, attention) != topology.node_of(gpu)) continue;
    for (std::uint64_t j = 0; j < span.count; ++j) {
      const std::uint64_t position = span.position + j;
      if (topology.source_gpu(span.home, position, attention) != gpu) continue;
      tokens.push_back({.request = span.request,
                        .position = position,
                        .store_token = span.store_token + j,
                        .group = span.group,
                        .step = j});
    }
  }
  return tokens;
}

std::vector<std::vector<std::uint32_t>> micro_batches(std::span<const Token> tokens, std::size_t size) {
  std::vector<std::uint32_t> order(tokens.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, {},
                           [&](std::uint32_t t) { return std::pair(tokens[t].group, tokens[t].step); });
  std::vector<std::vector<std::uint32_t>> batches;
  for (std::size_t begin = 0; begin < order.size(); begin += size) {
    const auto from = order.begin() + static_cast<std::ptrdiff_t>(begin);
    batches.emplace_back(from, from + static_cast<std::ptrdiff_t>(std::min(size, order.size() - begin)));
  }
  return batches;
}

Result<LayerRouting> route(const trace::Trace& trace, std::span<const Token> tokens,
                           const Placement& placement, std::size_t row, GpuId gpu, const Options& options) {
  const std::size_t k = trace.shape().top_k;
  LayerRouting routing{.k = k,
                       .experts = std::vector<ExpertId>(tokens.size() * k),
                       .gates = std::vector<float>(tokens.size() * k),
                       .gpus = std::vector<GpuId>(tokens.size() * k)};
  std::vector<ExpertId> block;
  std::vector<float> weights;
  const auto read = [&](std::uint64_t begin, std::uint64_t end) -> Status {
    block.resize(static_cast<std::size_t>(end - begin) * k);
    MOESAIC_TRY(trace.read_layer(row, begin, end, block));
    if (trace.has_weights()) {
      weights.resize(block.size());
      MOESAIC_TRY(trace.read_weights(row, begin, end, weights));
    }
    return {};
  };
  const auto use = [&](std::uint32_t token, std::size_t offset) {
    const auto experts = std::span(routing.experts).subspan(token * k, k);
    const auto gates = std::span(routing.gates).subspan(token * k, k);
    std::ranges::copy(std::span(block).subspan(offset * k, k), experts.begin());
    share_equally(experts, gates);
    if (!trace.has_weights()) return;
    for (std::size_t j = 0; j < k; ++j) {
      const float weight = weights[offset * k + j];
      if (experts[j] != kMissingExpert && std::isfinite(weight)) gates[j] = weight;
    }
  };
  MOESAIC_TRY(for_tokens_in_store_order(trace, tokens, read, use));

  dispatch::Chooser chooser(placement.topology(), placement.experts(), placement.layer(row), options.rule,
                            placement.layers()[row], options.dispatch_seed);
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    for (std::size_t j = 0; j < k; ++j) {
      const ExpertId expert = routing.experts[t * k + j];
      if (expert == kMissingExpert) continue;
      routing.gpus[t * k + j] = chooser.choose(
          {.expert = expert, .source = gpu, .request = tokens[t].request, .position = tokens[t].position});
    }
  }
  return routing;
}

}  // namespace moesaic::replay
