#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cost/step_time.hpp"

namespace moesaic::cost {
namespace {

bool ascends(const std::vector<std::int64_t>& points) {
  return points.size() >= 2 && points.front() >= 0 &&
         std::ranges::adjacent_find(points, std::ranges::greater_equal{}) == points.end();
}

/// The cell [i, i + 1] of `value`, the outermost one beyond the points.
std::size_t cell(const std::vector<std::int64_t>& points, std::int64_t value) {
  const auto above = std::ranges::upper_bound(points, value);
  const auto at = static_cast<std::size_t>(above - points.begin());
  return std::clamp<std::size_t>(at, 1, points.size() - 1) - 1;
}

double place(const std::vector<std::int64_t>& points, std::size_t i, std::int64_t value) {
  return static_cast<double>(value - points[i]) / static_cast<double>(points[i + 1] - points[i]);
}

Picoseconds slope(double low, double high, std::int64_t width) {
  return Picoseconds(std::llround(1000 * (high - low) / static_cast<double>(width)));
}

}  // namespace

Result<StepTable> StepTable::make(std::vector<std::int64_t> tokens, std::vector<std::int64_t> experts,
                                  std::vector<Nanoseconds> times) {
  if (!ascends(tokens)) return bad_input("step table: tokens must be two or more ascending whole numbers");
  if (!ascends(experts)) return bad_input("step table: experts must be two or more ascending whole numbers");
  if (times.size() != tokens.size() * experts.size()) {
    return bad_input(fmt::format("step table: {} times, expected {} token points x {} expert points",
                                 times.size(), tokens.size(), experts.size()));
  }
  if (std::ranges::any_of(times, [](Nanoseconds time) { return time < Nanoseconds(0); })) {
    return bad_input("step table: a time is negative");
  }
  StepTable table;
  table.tokens_ = std::move(tokens);
  table.experts_ = std::move(experts);
  table.times_ = std::move(times);
  return table;
}

double StepTable::plane(std::int64_t tokens, std::int64_t experts) const {
  const std::size_t row = cell(tokens_, tokens), column = cell(experts_, experts);
  const double down = place(tokens_, row, tokens), right = place(experts_, column, experts);
  const auto time = [&](std::size_t i, std::size_t j) {
    return static_cast<double>(times_[i * experts_.size() + j].count());
  };
  const double top = time(row, column) + right * (time(row, column + 1) - time(row, column));
  const double bottom = time(row + 1, column) + right * (time(row + 1, column + 1) - time(row + 1, column));
  return top + down * (bottom - top);
}

Nanoseconds StepTable::at(std::int64_t tokens, std::int64_t experts) const {
  return Nanoseconds(std::max<std::int64_t>(0, std::llround(plane(tokens, experts))));
}

Picoseconds StepTable::token_slope(std::int64_t tokens, std::int64_t experts) const {
  const std::size_t row = cell(tokens_, tokens);
  return slope(plane(tokens_[row], experts), plane(tokens_[row + 1], experts),
               tokens_[row + 1] - tokens_[row]);
}

Picoseconds StepTable::expert_slope(std::int64_t tokens, std::int64_t experts) const {
  const std::size_t column = cell(experts_, experts);
  return slope(plane(tokens, experts_[column]), plane(tokens, experts_[column + 1]),
               experts_[column + 1] - experts_[column]);
}

}  // namespace moesaic::cost
