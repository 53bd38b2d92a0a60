// The folder that a gateway records into: names of stores in order of time, and the oldest removed. For one
// thread: the gateway's helper.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "io/files.hpp"

namespace moesaic::gateway {

struct RecordOptions {
  std::string folder{};                               ///< of this gateway alone; "" = nothing is recorded
  Nanoseconds rotate = std::chrono::minutes(10);      ///< a store is closed this often
  std::uint64_t store_requests = 4096;                ///< ... and when it holds so many
  std::uint64_t max_bytes = std::uint64_t{10} << 30;  ///< of all stores; the oldest are removed

  bool operator==(const RecordOptions&) const = default;
};

class StoreFolder {
 public:
  /// Files outlive this.
  StoreFolder(io::FileSystem& files, std::string folder, std::uint64_t max_bytes)
      : files_(files), folder_(std::move(folder)), max_bytes_(max_bytes) {}

  /// Makes the folder, and removes what an earlier run left half written. Errors (environment): it cannot be.
  Status prepare();
  /// "<folder>/<kind>-20270115T080000Z-000.zarr"; `kind`: "requests" or "counts".
  Result<std::string> free_name(std::string_view kind, std::int64_t arrival_ns);
  /// Until what is left, of both kinds, has at most max_bytes. The newest stays.
  Status remove_oldest();

 private:
  io::FileSystem& files_;
  std::string folder_;
  std::uint64_t max_bytes_;
};

}  // namespace moesaic::gateway
