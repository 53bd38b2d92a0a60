// Requests in flight by id: a slab of records and an open-addressing index (linear probing, deletion by
// shifting back). No allocation while it holds at most reserve() requests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/check.hpp"
#include "core/random.hpp"
#include "routing/policy.hpp"

namespace moesaic::routing {

class RequestTable {
 public:
  struct Record {
    RequestId id{};
    std::uint32_t worker = 0;    ///< the fleet's index
    std::int64_t kv_tokens = 0;  ///< expected, on average over its life
    std::uint32_t load = 0;      ///< what it adds to the worker's load
  };

  explicit RequestTable(std::size_t reserve = 64) { grow(reserve); }

  std::size_t size() const { return used_; }
  /// Records live below this; their places are stable until erased.
  std::size_t places() const { return records_.size(); }
  const Record& at(std::uint32_t place) const { return records_[place]; }

  std::optional<std::uint32_t> find(RequestId id) const {
    for (std::size_t i = home(id);; i = (i + 1) & mask_) {
      if (index_[i] == kEmpty) return std::nullopt;
      if (records_[index_[i]].id == id) return index_[i];
    }
  }

  /// REQUIRES: the id is not in the table. O(1), amortised when it outgrows its reserve.
  std::uint32_t insert(const Record& record) {
    if (free_.empty()) grow(2 * records_.size());
    const std::uint32_t place = free_.back();
    free_.pop_back();
    records_[place] = record;
    std::size_t i = home(record.id);
    while (index_[i] != kEmpty) {
      MOESAIC_DCHECK(records_[index_[i]].id != record.id);
      i = (i + 1) & mask_;
    }
    index_[i] = place;
    ++used_;
    return place;
  }

  /// REQUIRES: `place` came from find() or insert() and was not erased.
  void erase(std::uint32_t place) {
    std::size_t i = home(records_[place].id);
    while (index_[i] != place) i = (i + 1) & mask_;
    std::size_t hole = i;
    for (i = (i + 1) & mask_; index_[i] != kEmpty; i = (i + 1) & mask_) {
      // An entry moves back when its home does not lie cyclically in (hole, i].
      if (((i - home(records_[index_[i]].id)) & mask_) >= ((i - hole) & mask_)) {
        index_[hole] = index_[i];
        hole = i;
      }
    }
    index_[hole] = kEmpty;
    free_.push_back(place);
    --used_;
  }

  /// Calls visit(place, record) for every request, in no order that means anything but the same each run.
  template <class Visit>
  void each(Visit visit) const {
    for (const std::uint32_t place : index_) {
      if (place != kEmpty) visit(place, records_[place]);
    }
  }

 private:
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFFu;

  std::size_t home(RequestId id) const {
    return static_cast<std::size_t>(splitmix64(static_cast<std::uint64_t>(id))) & mask_;
  }

  void grow(std::size_t records) {
    const std::size_t before = records_.size();
    records = records < 16 ? 16 : records;
    records_.resize(records);
    free_.reserve(records);
    for (std::size_t place = records; place > before; --place) {
      free_.push_back(static_cast<std::uint32_t>(place - 1));
    }
    std::vector<std::uint32_t> old;
    old.swap(index_);
    std::size_t cells = 32;
    while (cells < 2 * records) cells *= 2;
    index_.assign(cells, kEmpty);
    mask_ = cells - 1;
    for (const std::uint32_t place : old) {
      if (place == kEmpty) continue;
      std::size_t i = home(records_[place].id);
      while (index_[i] != kEmpty) i = (i + 1) & mask_;
      index_[i] = place;
    }
  }

  std::vector<Record> records_;
  std::vector<std::uint32_t> free_, index_;
  std::size_t mask_ = 0, used_ = 0;
};

}  // namespace moesaic::routing
