#include "routing/usage_sum.hpp"

#include <array>
#include <cmath>
#include <numeric>
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

}  // namespace

void to_survival(std::span<const float> probabilities, std::span<Survival> out) {
  MOESAIC_CHECK(probabilities.size() == out.size());
  const auto& table = survival_table();
  constexpr float kTop = kSteps - 1;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float p = probabilities[i];
    const float scaled = p > 0 ? (p < 1 ? p * kTop + 0.5f : kTop) : 0.0f;  // NaN compares false: 0
    out[i] = table[static_cast<std::size_t>(scaled)];
  }
}

UsageSum::UsageSum(std::vector<std::uint32_t> order)
    : order_(std::move(order)), sum_(order_.size()), others_(order_.size()), idle_(order_.size()) {
  refresh();
}

void UsageSum::add(std::span<const Survival> request) {
  MOESAIC_CHECK(request.size() == sum_.size());
  for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] += request[i];
  refresh();
}

void UsageSum::remove(std::span<const Survival> request) {
  MOESAIC_CHECK(request.size() == sum_.size());
  for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] -= request[i];
  refresh();
}

void UsageSum::set_others(std::span<const Survival> request, std::uint32_t times) {
  MOESAIC_CHECK(request.size() == others_.size());
  // 2^31 / 8192 units: beyond 65,535 requests an expert is active for certain anyway.
  const auto factor = static_cast<std::int32_t>(std::min(times, 65'535u));
  for (std::size_t i = 0; i < others_.size(); ++i) others_[i] = factor * request[i];
  refresh();
}

void UsageSum::refresh() {
  const auto& table = idle_table();
  constexpr auto kLast = static_cast<std::uint32_t>(kIdleSteps - 1);
  float block = 0;
  double sum = 0;
  for (std::size_t i = 0; i < idle_.size(); ++i) {
    const std::size_t cell = order_[i];
    const auto units = static_cast<std::uint32_t>(sum_[cell]) + static_cast<std::uint32_t>(others_[cell]);
    const float idle = table[std::min(units >> kIdleShift, kLast)];
    idle_[i] = idle;
    block += idle;
    if (i % 64 == 63) sum += static_cast<double>(block), block = 0;
  }
  active_ = static_cast<double>(idle_.size()) - (sum + static_cast<double>(block));
}

}  // namespace moesaic::routing
