// Deals the numbers 0 to count - 1 out to ranks, for work whose cost is not known beforehand: most of them in
// turn, the rest one by one to whoever comes to the end of what it has. A rank asks for its next number
// before it begins its last, and the root answers between its own: nobody waits longer than a number takes.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <vector>

#include "comm/comm.hpp"
#include "core/result.hpp"

namespace moesaic::comm {

class Deal {
 public:
  /// Every rank makes one with the same count. `comm` outlives it; nothing else is posted meanwhile.
  Deal(Comm& comm, std::size_t count);

  /// The next number of this rank, or nothing when all are dealt. Thread-safe. Errors: the communicator's.
  Result<std::optional<std::size_t>> next();

  /// Collective: ends the deal, on the root when every rank has been told so. A rank that calls it before
  /// next() gave nothing has failed: numbers go to it and nowhere.
  Status finish();

  /// Which numbers this rank had.
  const std::vector<bool>& mine() const { return mine_; }

 private:
  std::optional<std::size_t> draw();
  Status answer(const Comm::Posted& asked);
  Status ask();
  Result<std::optional<std::size_t>> answered();

  Comm& comm_;
  std::mutex mutex_;
  std::vector<bool> mine_;
  std::size_t own_ = 0;    ///< numbers of its turn that a rank has had
  std::size_t turns_ = 0;  ///< numbers a rank has in turn
  std::size_t dealt_ = 0;  ///< root: the next to deal one by one
  std::size_t told_ = 0;   ///< root: ranks that know it has ended
  bool asked_ = false;     ///< others: an answer is on its way
  bool ended_ = false;     ///< others: all are dealt
};

}  // namespace moesaic::comm
