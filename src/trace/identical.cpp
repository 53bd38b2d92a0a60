#include "trace/identical.hpp"

#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include "core/random.hpp"

namespace moesaic::trace {
namespace {

using Hash = std::pair<std::uint64_t, std::uint64_t>;

constexpr std::uint64_t kBlock = 16'384;

/// Folds a layer's experts of every request into its hash, in token order. The stored ids of a token are
/// sorted, or in order of score: then other orders are other requests.
Status fold_layer(const Trace& trace, std::size_t row, std::span<Hash> hashes) {
  const RequestTable& table = trace.requests();
  const std::size_t k = trace.shape().top_k;
  std::vector<ExpertId> block;
  std::uint64_t from = 0, to = 0;
  for (std::size_t r = 0; r < table.size(); ++r) {
    Hash hash{0xcbf29ce484222325, 0x9e3779b97f4a7c15 + row};
    for (std::uint64_t token = table.start[r], end = token + table.tokens(r); token < end; ++token) {
      if (token < from || token >= to) {
        from = token / kBlock * kBlock;
        to = std::min(from + kBlock, trace.tokens());
        block.resize(static_cast<std::size_t>(to - from) * k);
        MOESAIC_TRY(trace.read_layer(row, from, to, block));
      }
      for (const ExpertId expert : std::span(block).subspan(static_cast<std::size_t>(token - from) * k, k)) {
        hash.first = (hash.first ^ index(expert)) * 0x100000001b3;
        hash.second = (hash.second + index(expert)) * 0xd1342543de82ef95 + 1;
      }
    }
    hashes[r] = hash;
  }
  return {};
}

}  // namespace

Result<std::vector<std::uint32_t>> first_identical(const Trace& trace, ThreadPool& pool) {
  const RequestTable& table = trace.requests();
  const std::size_t layers = trace.shape().layers.size();
  std::vector<std::vector<Hash>> by_layer(layers, std::vector<Hash>(table.size()));
  MOESAIC_TRY(
      pool.try_parallel_for(layers, [&](std::size_t row) { return fold_layer(trace, row, by_layer[row]); }));
  std::map<Hash, std::uint32_t> first;
  std::vector<std::uint32_t> out(table.size());
  for (std::uint32_t r = 0; r < table.size(); ++r) {
    Hash all{table.prefill_tokens[r], table.decode_tokens[r]};
    for (std::size_t row = 0; row < layers; ++row) {
      all.first = counter_hash({all.first, by_layer[row][r].first});
      all.second = counter_hash({all.second, by_layer[row][r].second, 1});
    }
    out[r] = table.tokens(r) == 0 ? r : first.emplace(all, r).first->second;
  }
  return out;
}

}  // namespace moesaic::trace
