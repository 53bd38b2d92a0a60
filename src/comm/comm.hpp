// Collectives of the ranks of a job, behind one interface: one rank (every program), ranks as threads
// (comm/thread_ranks.hpp, for tests) or MPI (comm_mpi, linked by moesaic-mpi alone).
//
// Every rank must call the same functions in the same order. A rank that cannot go on says so in agree();
// one that just returns leaves the others waiting. Not thread-safe: one thread of a rank communicates at a
// time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace moesaic::comm {

using Bytes = std::vector<std::byte>;

class Comm {
 public:
  virtual ~Comm() = default;

  virtual std::size_t rank() const = 0;
  virtual std::size_t size() const = 0;
  bool is_root() const { return rank() == 0; }

  /// Returns when every rank has called it.
  virtual Status barrier() = 0;

  /// Adds element by element over all ranks, in place. Integers: the order of ranks does not matter.
  virtual Status all_sum(std::span<std::int64_t> values) = 0;

  /// Every rank's bytes at every rank, in rank order. Sizes may differ and may be 0.
  virtual Result<std::vector<Bytes>> all_gather(std::span<const std::byte> mine) = 0;

  /// `bytes` of `root` at every rank; what others passed is replaced.
  virtual Status broadcast(Bytes& bytes, std::size_t root) = 0;

  /// Sends out[i] to rank peers[i] and returns what each peer sent here, in the order of `peers`. The ranks
  /// named must call it at the same time and name each other; ranks not named need not. A message to oneself
  /// is allowed. Sizes may differ and may be 0; they need not be known to the receiver.
  /// REQUIRES: peers distinct, out.size() == peers.size().
  virtual Result<std::vector<Bytes>> exchange(std::span<const std::size_t> peers,
                                              const std::vector<Bytes>& out) = 0;

  /// Sends a small message that `peer` takes with take_posted(), and goes on without waiting for it.
  virtual Status post(std::size_t peer, Bytes message) = 0;

  struct Posted {
    std::size_t from = 0;
    Bytes message = {};
  };
  /// The next message that another rank has posted to this one; where there is none waits for one, or (wait
  /// = false) returns nothing. Those of one rank come in the order in which it posted them.
  virtual Result<std::optional<Posted>> take_posted(bool wait) = 0;

  /// Host name of the machine (or network namespace) this rank runs on.
  virtual std::string host() const;
};

/// One rank: collectives give back what they were given.
Comm& one_rank();

/// 0, 1, ... as `peers` of an exchange among all.
std::vector<std::size_t> everybody(const Comm& comm);

/// Collective: an environment error on all where a rank has another text than the root: "rank 2 sees another
/// <what> than rank 0; ...".
Status same_everywhere(Comm& comm, std::string_view mine, std::string_view what);

/// Collective: every rank's bytes at `root`, in rank order; nothing elsewhere.
Result<std::vector<Bytes>> gather(Comm& comm, Bytes mine, std::size_t root = 0);

/// All ranks go on, or none: the error of the lowest failing rank (its message then names that rank, where
/// there are several), or success. Call it wherever a rank alone may fail.
Status agree(Comm& comm, const Status& mine);
/// The same of what a rank has where it did not fail.
template <class T>
Status agree(Comm& comm, const Result<T>& mine) {
  return agree(comm, mine ? Status() : Status(tl::unexpected(mine.error())));
}

}  // namespace moesaic::comm
