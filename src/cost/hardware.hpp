// GPUs and the links between them. Numbers are per GPU and one direction.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/result.hpp"

namespace moesaic::cost {

using Picoseconds = std::chrono::duration<std::int64_t, std::pico>;

/// The alpha-beta model of a message (Hockney 1994): latency + bytes / bandwidth.
struct Link {
  Nanoseconds latency{0};
  double bytes_per_nanosecond = 1;  ///< = GB/s

  bool operator==(const Link&) const = default;
};

/// REQUIRES: bytes >= 0. Rounded to whole nanoseconds.
Nanoseconds transfer_time(const Link& link, std::int64_t bytes);
/// bytes / bandwidth alone, for a step's price of one more copy or weight.
Picoseconds marginal_time(double bytes_per_nanosecond, std::int64_t bytes);

struct HardwarePreset {
  std::string name;
  std::int64_t memory_bytes = 0;
  double memory_bytes_per_nanosecond = 1;  ///< HBM, as specified; kernels reach 70 to 90 %
  double bf16_flops_per_nanosecond = 1;    ///< dense tensor cores, as specified; fp8 runs at twice this
  Link nvlink;                             ///< GPU to GPU inside a node
  Link rdma;                               ///< GPU to GPU across nodes, one network card a GPU
  std::string source;

  bool operator==(const HardwarePreset&) const = default;
};

std::span<const HardwarePreset> hardware_presets();
/// The error (bad input) lists the names there are.
Result<const HardwarePreset*> find_hardware(std::string_view name);

}  // namespace moesaic::cost
