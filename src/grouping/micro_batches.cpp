#include "grouping/micro_batches.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/check.hpp"

namespace moesaic::grouping {

std::uint64_t max_passed(const MicroBatchOptions& options) {
  constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max() / 4;
  if (options.max_wait >= kNever / options.requests) return kNever;
  return options.max_wait * options.requests + options.requests - 1;
}

MicroBatcher::MicroBatcher(std::size_t cells, const MicroBatchOptions& options)
    : options_(options), cells_(cells), union_(cells), line_(0) {
  MOESAIC_CHECK(cells > 0 && options.requests > 0 && options.pool > 0);
  line_ = WaitingLine(max_passed(options));
}

void MicroBatcher::add(const MicroBatchRequest& request) {
  MOESAIC_CHECK(request.probabilities.empty() || request.probabilities.size() == cells_);
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(places_.size()));
    places_.emplace_back();
  }
  const std::uint32_t place = free_.back();
  free_.pop_back();
  places_[place] = request;
  line_.push(place);
}

double MicroBatcher::price(const MicroBatchRequest& request, std::size_t home) const {
  double price = 0;
  if (!first_) {  // in an empty batch every request adds alike, but for rounding
    price = request.probabilities.empty() ? static_cast<double>(cells_)
                                          : static_cast<double>(union_.added(request.probabilities));
  }
  if (options_.copy_price != 0 && !request.copies.empty()) {
    MOESAIC_CHECK(home < request.copies.size());
    price += options_.copy_price * (request.copies[home] - std::ranges::min(request.copies));
  }
  return price;
}

std::vector<std::uint32_t> MicroBatcher::next(std::size_t home) {
  union_.clear();
  first_ = true;
  std::vector<std::uint32_t> batch = take_cheapest(
      line_, options_.requests, options_.pool,
      [&](std::uint32_t place) { return price(places_[place], home); },
      [&](std::uint32_t place) {
        first_ = false;
        if (!places_[place].probabilities.empty()) union_.add(places_[place].probabilities);
      });
  for (std::uint32_t& place : batch) {
    free_.push_back(place);
    place = places_[place].id;
  }
  return batch;
}

std::vector<std::vector<std::uint32_t>> micro_batches(std::span<const float> probabilities, std::size_t cells,
                                                      const MicroBatchOptions& options) {
  MOESAIC_CHECK(options.pool >= options.requests && probabilities.size() % cells == 0);
  const std::size_t stream = probabilities.size() / cells;
  MicroBatcher batcher(cells, options);
  std::vector<std::vector<std::uint32_t>> out;
  std::size_t arrived = 0;
  while (arrived < stream || batcher.waiting() > 0) {
    for (; arrived < stream && batcher.waiting() < options.pool; ++arrived) {
      batcher.add({.id = static_cast<std::uint32_t>(arrived),
                   .probabilities = probabilities.subspan(arrived * cells, cells)});
    }
    out.push_back(batcher.next());
  }
  return out;
}

std::vector<std::vector<std::uint32_t>> fifo_micro_batches(std::size_t stream, std::size_t requests) {
  MOESAIC_CHECK(requests > 0);
  std::vector<std::vector<std::uint32_t>> out;
  for (std::size_t begin = 0; begin < stream; begin += requests) {
    out.emplace_back(std::min(requests, stream - begin));
    std::iota(out.back().begin(), out.back().end(), static_cast<std::uint32_t>(begin));
  }
  return out;
}

}  // namespace moesaic::grouping
