// Micro-batches: which of the waiting requests run together. A decode step reads the weights of every
// distinct expert that its batch activates, so requests that share experts make it cheaper; first in, first
// out does not look. From what each request is predicted to activate the batch grows greedily: the longest
// waiting (or the one that fits the home best), then always the one that adds least.
//
//   price(request, home) = experts it adds to a step + copy_price x (copies it sends from there - the fewest
//                          it would send from any home)
//
// Greedy growth of a union has no guarantee in general, but is what an oracle uses that sees the true
// activations (docs/microbatch.md compares them). No request waits beyond a bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "grouping/expected_union.hpp"
#include "grouping/waiting_line.hpp"

namespace moesaic::grouping {

struct MicroBatchOptions {
  std::size_t requests = 8;   ///< of a batch; the last ones of a stream may be smaller
  std::size_t pool = 64;      ///< waiting requests looked at, the longest waiting ones
  std::size_t max_wait = 32;  ///< batches that may be formed while a request waits; see WaitingLine
  double copy_price = 0;      ///< distinct experts that one copy between nodes is worth
};

/// max_wait in requests, as WaitingLine takes it: those of max_wait batches, and the others of one's own.
std::uint64_t max_passed(const MicroBatchOptions& options);

/// A waiting request. The spans live until it is taken.
struct MicroBatchRequest {
  std::uint32_t id = 0;  ///< the caller's own
  std::span<const float>
      probabilities{};               ///< [cells], each in [0, 1]; empty: nothing is known, adds the most
  std::span<const double> copies{};  ///< [homes] a step (ExpectedCopies); empty: alike everywhere
};

class MicroBatcher {
 public:
  /// REQUIRES: requests, pool, cells > 0.
  MicroBatcher(std::size_t cells, const MicroBatchOptions& options);

  void add(const MicroBatchRequest& request);
  std::size_t waiting() const { return line_.size(); }

  /// Takes the next batch for `home` out of the pool: ids in the order in which they were picked, none when
  /// nobody waits. A request is in one of the first max_wait + 1 batches after it came, or where first in,
  /// first out would have put it, if that is later. Deterministic; ties go to the longest waiting.
  /// O(requests x (waiting + pool x cells)).
  std::vector<std::uint32_t> next(std::size_t home = 0);

 private:
  double price(const MicroBatchRequest& request, std::size_t home) const;

  MicroBatchOptions options_;
  std::size_t cells_;
  ExpectedUnion union_;  ///< of the batch that grows
  bool first_ = true;    ///< nobody is in it
  WaitingLine line_;     ///< of places
  std::vector<MicroBatchRequest> places_;
  std::vector<std::uint32_t> free_;
};

/// All requests of a stream, in order of arrival: `probabilities` is [requests, cells]. A request joins the
/// pool when there is room, which is when its wait begins; every request is in exactly one batch, as its
/// position. O(requests x pool x cells). REQUIRES: as MicroBatcher, pool >= requests of a batch.
std::vector<std::vector<std::uint32_t>> micro_batches(std::span<const float> probabilities, std::size_t cells,
                                                      const MicroBatchOptions& options);

/// The baseline: the same stream cut into batches as it comes.
std::vector<std::vector<std::uint32_t>> fifo_micro_batches(std::size_t stream, std::size_t requests);

}  // namespace moesaic::grouping
