#include "cost/hardware.hpp"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "core/check.hpp"

namespace moesaic::cost {
namespace {

constexpr std::int64_t kGigabyte = 1'000'000'000;

// DeepEP's README, low-latency kernels on H800 + ConnectX-7 400 Gb/s (50 GB/s), 8 ranks: dispatch of 128
// tokens x 8 experts x 7392 bytes takes 163 us, 12 us more than its bytes need at 50 GB/s.
constexpr Link kConnectX7{Nanoseconds(12'000), 50};
// No public figure for a kernel's start over NVLink is known to us: 2 us is assumed.
constexpr Nanoseconds kNvlinkLatency{2'000};

std::vector<HardwarePreset> table() {
  return {
      {.name = "h100",
       .memory_bytes = 80 * kGigabyte,
       .memory_bytes_per_nanosecond = 3350,
       .bf16_flops_per_nanosecond = 989'000,
       .nvlink = {kNvlinkLatency, 450},
       .rdma = kConnectX7,
       .source = "NVIDIA H100 SXM data sheet: 80 GB HBM3, 3.35 TB/s, 989 dense bf16 TFLOPS, NVLink 900 GB/s "
                 "both ways; NVLink "
                 "latency assumed"},
      {.name = "h20",
       .memory_bytes = 96 * kGigabyte,
       .memory_bytes_per_nanosecond = 4000,
       .bf16_flops_per_nanosecond = 148'000,
       .nvlink = {kNvlinkLatency, 450},
       .rdma = kConnectX7,
       .source = "NVIDIA H20 data sheet: 96 GB HBM3, 4.0 TB/s, 148 dense bf16 TFLOPS, NVLink 900 GB/s both "
                 "ways; NVLink latency "
                 "assumed"},
      {.name = "h200",
       .memory_bytes = 141 * kGigabyte,
       .memory_bytes_per_nanosecond = 4800,
       .bf16_flops_per_nanosecond = 989'000,
       .nvlink = {kNvlinkLatency, 450},
       .rdma = kConnectX7,
       .source = "NVIDIA H200 SXM data sheet: 141 GB HBM3e, 4.8 TB/s, 989 dense bf16 TFLOPS, NVLink 900 GB/s "
                 "both ways; NVLink "
                 "latency assumed"},
      {.name = "h800",
       .memory_bytes = 80 * kGigabyte,
       .memory_bytes_per_nanosecond = 3350,
       .bf16_flops_per_nanosecond = 989'000,
       .nvlink = {kNvlinkLatency, 160},
       .rdma = kConnectX7,
       .source = "NVIDIA H100 data sheet for memory and 989 dense bf16 TFLOPS; DeepEP README: about 160 GB/s "
                 "over NVLink and 50 GB/s "
                 "over ConnectX-7; NVLink latency assumed"},
  };
}

}  // namespace

Nanoseconds transfer_time(const Link& link, std::int64_t bytes) {
  MOESAIC_CHECK(bytes >= 0 && link.bytes_per_nanosecond > 0);
  return link.latency + Nanoseconds(std::llround(static_cast<double>(bytes) / link.bytes_per_nanosecond));
}

Picoseconds marginal_time(double bytes_per_nanosecond, std::int64_t bytes) {
  MOESAIC_CHECK(bytes >= 0 && bytes_per_nanosecond > 0);
  return Picoseconds(std::llround(1000 * static_cast<double>(bytes) / bytes_per_nanosecond));
}

std::span<const HardwarePreset> hardware_presets() {
  static const std::vector<HardwarePreset> presets = table();
  return presets;
}

Result<const HardwarePreset*> find_hardware(std::string_view name) {
  std::string names;
  for (const HardwarePreset& preset : hardware_presets()) {
    if (preset.name == name) return &preset;
    names += (names.empty() ? "" : ", ") + preset.name;
  }
  return bad_input(fmt::format("hardware \"{}\" is not known, expected one of {}", name, names));
}

}  // namespace moesaic::cost
