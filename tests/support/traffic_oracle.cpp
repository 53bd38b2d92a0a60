#include "support/traffic_oracle.hpp"

#include <algorithm>

namespace moesaic::testing {
namespace {

std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9ull;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace

OracleResult traffic_oracle(const OracleCase& c) {
  const int gpus = c.nodes * c.gpus_per_node;
  const auto node_of = [&](int gpu) { return gpu / c.gpus_per_node; };
  OracleResult result;
  result.gpu_rows.assign(static_cast<std::size_t>(gpus), 0);
  std::map<std::pair<int, int>, std::uint64_t> rows_so_far;  // trtllm: (expert, source)
  std::map<std::uint64_t, std::map<std::pair<int, int>, std::int64_t>> dedup_steps, per_expert_steps;
  std::set<std::tuple<std::uint64_t, int, int>> active;  // step, GPU, expert
  struct Batch {
    std::uint64_t start = 0, length = 0;
    int size = 0;
  };
  std::map<int, Batch> batches;

  for (const OracleRequest& request : c.requests) {
    if (request.tokens.empty()) continue;
    Batch& batch = batches[request.home];
    if (batch.size == c.requests_per_home) batch = {batch.start + batch.length, 0, 0};
    ++batch.size;
    batch.length = std::max<std::uint64_t>(batch.length, request.tokens.size());
    for (std::size_t j = 0; j < request.tokens.size(); ++j) {
      const std::uint64_t position = request.first_position + j, step = batch.start + j;
      const int source = c.tensor_parallel
                             ? request.home * c.gpus_per_node +
                                   static_cast<int>(position % static_cast<std::uint64_t>(c.gpus_per_node))
                             : request.home;
      std::set<int> used;
      for (const int expert : request.tokens[j]) {
        if (expert < 0) continue;
        std::vector<int> candidates;
        for (std::size_t s = 0; s < c.slots.size(); ++s) {
          if (c.slots[s] == expert) candidates.push_back(static_cast<int>(s) / c.slots_per_gpu);
        }
        const std::uint64_t n = candidates.size();
        const auto s = static_cast<std::uint64_t>(source);
        std::vector<int> here;
        for (const int gpu : candidates) {
          if (node_of(gpu) == node_of(source)) here.push_back(gpu);
        }
        int target = 0;
        if (c.rule == "local" || c.rule == "sglang") {
          if (std::count(candidates.begin(), candidates.end(), source) > 0) {
            target = source;
          } else if (!here.empty()) {
            target = c.rule == "sglang" ? here[0] : here[s % here.size()];
          } else {
            target = candidates[s % n];
          }
        } else if (c.rule == "vllm") {
          target = candidates[position % n];
        } else if (c.rule == "trtllm") {
          target = candidates[(s + rows_so_far[{expert, source}]++) % n];
        } else {
          std::uint64_t h = 0;
          for (const std::uint64_t v :
               {c.seed, static_cast<std::uint64_t>(c.layer), std::uint64_t{request.id}, position,
                static_cast<std::uint64_t>(expert)}) {
            h = mix(h ^ v);
          }
          target = candidates[h % n];
        }
        used.insert(target);
        ++result.gpu_rows[static_cast<std::size_t>(target)];
        active.insert({step, target, expert});
        if (node_of(target) != node_of(source)) {
          ++result.per_expert_node;
          ++per_expert_steps[step][{node_of(source), node_of(target)}];
        } else if (target != source) {
          ++result.per_expert_gpu;
        }
      }
      for (int node = 0; node < c.nodes; ++node) {
        const int landing = node * c.gpus_per_node + source % c.gpus_per_node;
        int on_node = 0, besides_landing = 0;
        for (const int gpu : used) {
          on_node += node_of(gpu) == node ? 1 : 0;
          besides_landing += node_of(gpu) == node && gpu != landing ? 1 : 0;
        }
        result.dedup_gpu += besides_landing;
        if (on_node > 0 && node != node_of(source)) {
          ++result.dedup_node;
          ++dedup_steps[step][{node_of(source), node}];
        }
      }
    }
  }
  const auto padded = [&](const auto& steps) {
    std::int64_t sum = 0;
    for (const auto& [step, pairs] : steps) {
      std::int64_t most = 0;
      for (const auto& [pair, count] : pairs) most = std::max(most, count);
      sum += c.nodes * (c.nodes - 1) * most;
    }
    return sum;
  };
  result.dedup_padded = padded(dedup_steps);
  result.per_expert_padded = padded(per_expert_steps);
  result.activated = static_cast<std::int64_t>(active.size());
  return result;
}

}  // namespace moesaic::testing
