#include "routing/usage_sum.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/check.hpp"

namespace moesaic::routing {
namespace {

constexpr int kUnits = 1024;          // a nat
constexpr double kMaxNats = 8;        // of one request: p <= 0.99966
constexpr std::size_t kSteps = 4096;  // of p
constexpr int kIdleShift = 2;         // the idle table has 256 steps a nat: half a step is 0.2 %
constexpr std::size_t kIdleSteps = 16 * kUnits >> kIdleShift;  // beyond 16 nats (1e-7) idle is the last step

const std::array<Survival, kSteps>& survival_table() {
  static const auto table = [] {
    std::array<Survival, kSteps> out{};
    for (std::size_t i = 0; i < kSteps; ++i) {
      const double p = static_cast<double>(i) / (kSteps - 1);
      const double nats = p < 1 ? std::min(kMaxNats, -std::log1p(-p)) : kMaxNats;
      out[i] = static_cast<Survival>(std::lround(nats * kUnits));
    }
    return out;
  }();
  return table;
}

const std::array<float, kIdleSteps>& idle_table() {
  static const auto table = [] {
    std::array<float, kIdleSteps> out{};
    for (std::size_t i = 0; i < kIdleSteps; ++i) {
      // The middle of the step, but exactly 1 where nothing runs.
      const double units = i == 0 ? 0 : (static_cast<double>(i) + 0.5) * (1 << kIdleShift) - 0.5;
      out[i] = static_cast<float>(std::exp(-units / kUnits));
    }
    return out;
  }();
  return table;
}

/// sums += sign x request, eight cells at a time.
void add_all(std::vector<std::int32_t>& sums, std::span<const Survival> request, std::int32_t sign) {
  constexpr std::size_t kLanes = 8;
  typedef Survival Shorts __attribute__((vector_size(16)));
  typedef std::int32_t Ints __attribute__((vector_size(32)));
  const std::size_t whole = sums.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Shorts units;
    Ints sum;
    std::memcpy(&units, request.data() + i, sizeof units);
    std::memcpy(&sum, sums.data() + i, sizeof sum);
    const Ints wide = __builtin_convertvector(units, Ints);
    sum = sign > 0 ? sum + wide : sum - wide;
    std::memcpy(sums.data() + i, &sum, sizeof sum);
  }
  for (std::size_t i = whole; i < sums.size(); ++i) sums[i] += sign * request[i];
}

}  // namespace

void to_survival(std::span<const float> probabilities, std::span<Survival> out) {
  MOESAIC_CHECK(probabilities.size() == out.size());
  const auto& table = survival_table();
  constexpr float kTop = kSteps - 1;
  constexpr std::size_t kLanes = 4;
  typedef float Floats __attribute__((vector_size(16)));
  typedef std::int32_t Ints __attribute__((vector_size(16)));
  const auto step = [&](float p) {
    const float bounded = p > 0 ? (p < 1 ? p : 1.0f) : 0.0f;  // NaN compares false: 0
    return static_cast<std::size_t>(
        bounded * kTop + 0.5f);  // NOLINT(bugprone-incorrect-roundings): >= 0, and lround is a call
  };
  const std::size_t whole = out.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Floats p;
    std::memcpy(&p, probabilities.data() + i, sizeof p);
    const Floats zero = {}, one = zero + 1.0f;
    p = p > zero ? p : zero;
    p = p < one ? p : one;
    const Ints steps = __builtin_convertvector(p * kTop + 0.5f, Ints);
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      out[i + lane] = table[static_cast<std::uint32_t>(steps[lane])];
  }
  for (std::size_t i = whole; i < out.size(); ++i) out[i] = table[step(probabilities[i])];
}

UsageSum::UsageSum(std::vector<std::uint32_t> order)
    : order_(std::move(order)), sum_(order_.size()), others_(order_.size()), idle_(order_.size()) {
  bool in_order = true;
  for (std::uint32_t i = 0; i < order_.size(); ++i) in_order = in_order && order_[i] == i;
  if (in_order) order_.clear();
  refresh();
}

void UsageSum::add(std::span<const Survival> request) {
  MOESAIC_CHECK(request.size() == sum_.size());
  add_all(sum_, request, 1);
  refresh();
}

void UsageSum::remove(std::span<const Survival> request) {
  MOESAIC_CHECK(request.size() == sum_.size());
  add_all(sum_, request, -1);
  refresh();
}

void UsageSum::set_others(std::span<const Survival> request, std::uint32_t times) {
  MOESAIC_CHECK(request.size() == sum_.size());
  // 2^31 / 8192 units: beyond 65,535 requests an expert is active for certain anyway.
  const auto factor = static_cast<std::int32_t>(std::min(times, 65'535u));
  for (std::size_t i = 0; i < sum_.size(); ++i) {
    const std::int32_t others = factor * request[i];
    sum_[i] += others - others_[i];
    others_[i] = others;
  }
  refresh();
}

void UsageSum::refresh() {
  const auto& table = idle_table();
  constexpr auto kLast = static_cast<std::int32_t>(kIdleSteps - 1);
  constexpr std::size_t kBlock = 64;  // summed in float32, then in double
  const std::size_t cells = idle_.size();
  double sum = 0;
  for (std::size_t begin = 0; begin < cells; begin += kBlock) {
    const std::size_t end = std::min(cells, begin + kBlock);
    if (order_.empty()) {
      for (std::size_t i = begin; i < end; ++i) {
        idle_[i] = table[static_cast<std::size_t>(std::min(sum_[i] >> kIdleShift, kLast))];
      }
    } else {
      for (std::size_t i = begin; i < end; ++i) {
        idle_[i] = table[static_cast<std::size_t>(std::min(sum_[order_[i]] >> kIdleShift, kLast))];
      }
    }
    float lanes[4] = {};
    std::size_t i = begin;
    for (; i + 4 <= end; i += 4) {
      for (std::size_t lane = 0; lane < 4; ++lane) lanes[lane] += idle_[i + lane];
    }
    for (; i < end; ++i) lanes[0] += idle_[i];
    sum += static_cast<double>((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]));
  }
  active_ = static_cast<double>(cells) - sum;
}

}  // namespace moesaic::routing
