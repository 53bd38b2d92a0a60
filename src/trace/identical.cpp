#include "trace/identical.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <span>
#include <utility>

#include "core/random.hpp"

namespace moesaic::trace {
namespace {

using Hash = std::pair<std::uint64_t, std::uint64_t>;

constexpr std::uint64_t kTokensAtATime = 16'384;

/// Hashes of a layer's experts of some requests (ascending), in token order. The stored ids of a token are
/// sorted, or in order of score: then other orders are other requests.
Status hash_layer(const Trace& trace, std::size_t row, std::span<const std::uint32_t> requests,
                  std::span<Hash> hashes) {
  const RequestTable& table = trace.requests();
  const std::size_t k = trace.shape().top_k;
  std::vector<ExpertId> block;
  std::uint64_t from = 0, to = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::uint32_t r = requests[i];
    Hash hash{0xcbf29ce484222325, 0x9e3779b97f4a7c15 + row};
    for (std::uint64_t token = table.start[r], end = token + table.tokens(r); token < end; ++token) {
      if (token < from || token >= to) {
        from = token / kTokensAtATime * kTokensAtATime;
        to = std::min(from + kTokensAtATime, trace.tokens());
        block.resize(static_cast<std::size_t>(to - from) * k);
        MOESAIC_TRY(trace.read_layer(row, from, to, block));
      }
      for (const ExpertId expert : std::span(block).subspan(static_cast<std::size_t>(token - from) * k, k)) {
        hash.first = (hash.first ^ index(expert)) * 0x100000001b3;
        hash.second = (hash.second + index(expert)) * 0xd1342543de82ef95 + 1;
      }
    }
    hashes[i] = hash;
  }
  return {};
}

/// Folds the layers `rows` of `requests` into their hashes.
Status fold(const Trace& trace, std::span<const std::size_t> rows, std::span<const std::uint32_t> requests,
            std::vector<Hash>& hashes, ThreadPool& pool) {
  std::vector<std::vector<Hash>> by_row(rows.size(), std::vector<Hash>(requests.size()));
  MOESAIC_TRY(pool.try_parallel_for(
      rows.size(), [&](std::size_t i) { return hash_layer(trace, rows[i], requests, by_row[i]); }));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Hash& all = hashes[requests[i]];
    for (const std::vector<Hash>& row : by_row) {
      all.first = counter_hash({all.first, row[i].first});
      all.second = counter_hash({all.second, row[i].second, 1});
    }
  }
  return {};
}

/// The requests whose hash others have as well, ascending.
std::vector<std::uint32_t> shared(const RequestTable& table, const std::vector<Hash>& hashes) {
  std::map<Hash, std::uint32_t> count;
  for (const Hash& hash : hashes) ++count[hash];
  std::vector<std::uint32_t> out;
  for (std::uint32_t r = 0; r < table.size(); ++r) {
    if (table.tokens(r) > 0 && count[hashes[r]] > 1) out.push_back(r);
  }
  return out;
}

}  // namespace

Result<std::vector<std::uint32_t>> first_identical(const Trace& trace, ThreadPool& pool) {
  const RequestTable& table = trace.requests();
  const std::size_t layers = trace.shape().layers.size();
  std::vector<std::size_t> some, others;
  for (std::size_t row = 0; row < layers; ++row) {
    (row == 0 || row == layers / 2 || row == layers - 1 ? some : others).push_back(row);
  }
  std::vector<std::uint32_t> out(table.size());
  std::iota(out.begin(), out.end(), 0u);
  std::vector<Hash> hashes;
  for (std::size_t r = 0; r < table.size(); ++r) {
    hashes.emplace_back(table.prefill_tokens[r], table.decode_tokens[r]);
  }
  MOESAIC_TRY(fold(trace, some, out, hashes, pool));
  const std::vector<std::uint32_t> candidates = shared(table, hashes);
  MOESAIC_TRY(fold(trace, others, candidates, hashes, pool));
  std::map<Hash, std::uint32_t> first;
  for (const std::uint32_t r : candidates) out[r] = first.emplace(hashes[r], r).first->second;
  return out;
}

}  // namespace moesaic::trace
