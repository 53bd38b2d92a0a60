// What `moesaic info` tells beyond the metadata: size on disk, and whether every byte is what it should be.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.hpp"
#include "io/files.hpp"
#include "trace/trace.hpp"

namespace moesaic::trace {

/// Bytes of the data files of the store's main array (`experts` or `counts`), without metadata.
Result<std::uint64_t> data_bytes(io::FileSystem& files, const Trace& trace);

struct Verification {
  std::uint64_t values = 0;    ///< ids or counts read
  std::uint64_t missing = 0;   ///< ids that the source did not record
  std::uint64_t repeated = 0;  ///< ids equal to another of the same token and layer
  bool operator==(const Verification&) const = default;
};

/// Reads everything: checksums, ids in range and, with IdOrder::kSet, sorted; weights present exactly where
/// ids are; counts finite and at least 0; the digest recomputed from decoded contents. The first thing that
/// is wrong is an error (bad input). Memory: one layer range.
Result<Verification> verify(io::FileSystem& files, const Trace& trace);

/// The digest of what is on disk, from decoded contents.
Result<std::string> recompute_digest(io::FileSystem& files, const Trace& trace);

}  // namespace moesaic::trace
