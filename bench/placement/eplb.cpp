// How much faster is our EPLB than DeepSeek's reference? The reference (torch 1.13, CPU) took 351 ms on
// dsv3-32gpu and 2.75 s on dsv3-144gpu-global on a 2-core machine. Equality with its output comes first.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "placement/eplb.hpp"
#include "placement/eplb_golden.hpp"

namespace {

double median_milliseconds(const moesaic::placement::testing::EplbGolden& golden) {
  constexpr int kRuns = 101;
  std::vector<double> times;
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    const auto mapping = moesaic::placement::eplb::rebalance(golden.weight, golden.shape);
    const auto end = std::chrono::steady_clock::now();
    if (!mapping) return 0;
    times.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
  }
  std::ranges::nth_element(times, times.begin() + kRuns / 2);
  return times[kRuns / 2];
}

}  // namespace

int main() {
  const auto goldens = moesaic::placement::testing::read_eplb_goldens();
  if (!goldens) {
    fmt::print(stderr, "{}\n", goldens.error().message);
    return static_cast<int>(goldens.error().kind);
  }
  struct Target {
    const char* name;
    double reference_ms, ratio;
  };
  bool met = true;
  for (const auto& golden : *goldens) {
    const auto mapping = moesaic::placement::eplb::rebalance(golden.weight, golden.shape);
    const std::string wrong =
        mapping ? moesaic::placement::testing::difference(golden, *mapping) : mapping.error().message;
    if (!wrong.empty()) {
      fmt::print(stderr, "not equal to the reference: {}\n", wrong);
      return 1;
    }
    const double ms = median_milliseconds(golden);
    fmt::print("{:28} {:4} x {:3} -> {:3} on {:3} GPUs  {:7.3f} ms", golden.name, golden.shape.layers,
               golden.shape.experts, golden.shape.replicas, golden.shape.gpus, ms);
    for (const Target& target : {Target{"dsv3-32gpu", 351, 300}, Target{"dsv3-144gpu-global", 2750, 1000}}) {
      if (golden.name != target.name) continue;
      fmt::print("  {:5.0f} x the reference's {} ms (wanted {})", target.reference_ms / ms,
                 target.reference_ms, target.ratio);
      met = met && target.reference_ms / ms >= target.ratio;
    }
    fmt::print("\n");
  }
  return met ? 0 : 1;
}
