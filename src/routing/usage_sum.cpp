#include "routing/usage_sum.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/check.hpp"
#include "signature/dot.hpp"

namespace moesaic::routing {
namespace {

constexpr int kUnits = 1024;          // a nat
constexpr double kMaxNats = 8;        // of one request: p <= 0.99966
constexpr std::size_t kSteps = 4096;  // of p
constexpr double kMemoryPace = 0.25;  // a request lengthens the memory by so much
constexpr std::size_t kBlock = 512;   // of cells, summed in float32, blocks in double

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

const std::array<float, kBlock>& ones() {
  static const auto row = [] {
    std::array<float, kBlock> out{};
    out.fill(1);
    return out;
  }();
  return row;
}

constexpr std::size_t kLanes = 8;
typedef Survival Shorts __attribute__((vector_size(16)));
typedef std::int32_t Ints __attribute__((vector_size(32)));
typedef float Floats __attribute__((vector_size(32)));

/// sums += sign x request; with `memory`, memory += rate x (request - memory).
void add_all(std::vector<std::int32_t>& sums, const Survival* request, std::int32_t sign, float* memory,
             float rate) {
  const std::size_t whole = sums.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Shorts units;
    Ints sum;
    std::memcpy(&units, request + i, sizeof units);
    std::memcpy(&sum, sums.data() + i, sizeof sum);
    const Ints wide = __builtin_convertvector(units, Ints);
    sum = sign > 0 ? sum + wide : sum - wide;
    std::memcpy(sums.data() + i, &sum, sizeof sum);
    if (memory == nullptr) continue;
    Floats typical;
    std::memcpy(&typical, memory + i, sizeof typical);
    typical += (__builtin_convertvector(wide, Floats) - typical) * rate;
    std::memcpy(memory + i, &typical, sizeof typical);
  }
  for (std::size_t i = whole; i < sums.size(); ++i) {
    sums[i] += sign * request[i];
    if (memory != nullptr) memory[i] += (static_cast<float>(request[i]) - memory[i]) * rate;
  }
}

}  // namespace

void to_survival(std::span<const float> probabilities, std::span<Survival> out) {
  MOESAIC_CHECK(probabilities.size() == out.size());
  const auto& table = survival_table();
  constexpr float kTop = kSteps - 1;
  constexpr std::size_t kFour = 4;
  typedef float FourFloats __attribute__((vector_size(16)));
  typedef std::int32_t FourInts __attribute__((vector_size(16)));
  const auto step = [&](float p) {
    const float bounded = p > 0 ? (p < 1 ? p : 1.0f) : 0.0f;  // NaN compares false: 0
    return static_cast<std::size_t>(
        bounded * kTop + 0.5f);  // NOLINT(bugprone-incorrect-roundings): >= 0, and lround is a call
  };
  const std::size_t whole = out.size() / kFour * kFour;
  for (std::size_t i = 0; i < whole; i += kFour) {
    FourFloats p;
    std::memcpy(&p, probabilities.data() + i, sizeof p);
    const FourFloats zero = {}, one = zero + 1.0f;
    p = p > zero ? p : zero;
    p = p < one ? p : one;
    const FourInts steps = __builtin_convertvector(p * kTop + 0.5f, FourInts);
    for (std::size_t lane = 0; lane < kFour; ++lane)
      out[i + lane] = table[static_cast<std::uint32_t>(steps[lane])];
  }
  for (std::size_t i = whole; i < out.size(); ++i) out[i] = table[step(probabilities[i])];
}

UsageSum::UsageSum(std::vector<std::uint32_t> order, const UsageMemory& memory)
    : order_(std::move(order)),
      options_(memory),
      sum_(order_.size()),
      others_(order_.size()),
      mixed_(order_.size()),
      memory_(order_.size()),
      idle_(order_.size()),
      later_(order_.size()),
      ordered_(order_.size()) {
  MOESAIC_CHECK(memory.requests >= 1 && memory.share >= 0 && memory.share <= 1);
  bool in_order = true;
  for (std::uint32_t i = 0; i < order_.size(); ++i) in_order = in_order && order_[i] == i;
  if (in_order) order_ = std::vector<std::uint32_t>(), ordered_ = std::vector<Survival>();
  refresh();
}

const Survival* UsageSum::ordered(std::span<const Survival> request) {
  MOESAIC_CHECK(request.size() == sum_.size());
  if (order_.empty()) return request.data();
  for (std::size_t i = 0; i < order_.size(); ++i) ordered_[i] = request[order_[i]];
  return ordered_.data();
}

void UsageSum::add(std::span<const Survival> request) {
  ++requests_;
  remembered_ = std::min(options_.requests, remembered_ > 0 ? remembered_ + kMemoryPace : 1);
  add_all(sum_, ordered(request), 1, memory_.data(), static_cast<float>(1 / remembered_));
  refresh();
}

void UsageSum::remember(std::span<const Survival> request) {
  const Survival* const units = ordered(request);
  // It came long ago: while the memory is short, it says less of what the worker is becoming.
  const auto rate = static_cast<float>(remembered_ > 0 ? 1 / options_.requests : 1);
  remembered_ = std::max(1.0, remembered_);
  for (std::size_t i = 0; i < memory_.size(); ++i)
    memory_[i] += (static_cast<float>(units[i]) - memory_[i]) * rate;
  refresh();
}

void UsageSum::remove(std::span<const Survival> request) {
  --requests_;
  add_all(sum_, ordered(request), -1, nullptr, 0);
  refresh();
}

void UsageSum::set_others(std::span<const Survival> request, std::uint32_t times) {
  const Survival* const units = ordered(request);
  // 2^31 / 8192 units: beyond 65,535 requests an expert is active for certain anyway.
  other_requests_ = std::min(times, 65'535u);
  const auto factor = static_cast<std::int32_t>(other_requests_);
  for (std::size_t i = 0; i < sum_.size(); ++i) {
    const std::int32_t others = factor * units[i];
    sum_[i] += others - others_[i];
    others_[i] = others;
  }
  refresh();
}

void UsageSum::refresh() {
  constexpr float kNat = 1.0f / kUnits;
  signature::decay(idle_, sum_, kNat, memory_, 0);
  double idle = 0;
  for (std::size_t begin = 0; begin < idle_.size(); begin += kBlock) {
    const auto block = std::span<const float>(idle_).subspan(begin, std::min(kBlock, idle_.size() - begin));
    idle += static_cast<double>(signature::dot(block, std::span(ones()).first(block.size())));
  }
  active_ = static_cast<double>(idle_.size()) - idle;
  const double typical = remembered_ > 0 ? options_.share : 0;
  std::span<const std::int32_t> present = sum_;
  auto present_share = static_cast<float>(1 - typical);
  if (other_requests_ > 0) {  // these are nobody's typical requests: they stay what they are
    for (std::size_t i = 0; i < mixed_.size(); ++i) {
      const double own = static_cast<double>(sum_[i] - others_[i]) * (1 - typical);
      mixed_[i] = others_[i] + static_cast<std::int32_t>(std::lround(own));
    }
    present = mixed_;
    present_share = 1;
  }
  signature::decay(later_, present, present_share * kNat, memory_,
                   static_cast<float>(typical * static_cast<double>(requests_)) * kNat);
}

}  // namespace moesaic::routing
