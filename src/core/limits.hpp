// Bounds on what a foreign file or peer may claim. Checked before anything is allocated.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moesaic::limits {

inline constexpr std::size_t kMaxExperts = 65'534;  ///< a layer; 0xFFFF marks a missing choice
inline constexpr std::size_t kMaxLayers = 4'096;    ///< of a model
inline constexpr std::size_t kMaxTopK = 64;         ///< experts a token
inline constexpr std::size_t kMaxGpus = 65'536;
inline constexpr std::size_t kMaxSlots = 1'048'576;                  ///< a layer, all GPUs
inline constexpr std::uint64_t kMaxTokens = std::uint64_t{1} << 40;  ///< a trace
inline constexpr std::uint64_t kMaxRequests = std::uint64_t{1} << 31;
inline constexpr std::size_t kMaxStringBytes = 65'536;  ///< an id, a domain, a name
inline constexpr std::size_t kMaxJsonDepth = 64;
inline constexpr std::size_t kMaxConfigNodes = 1'000'000;        ///< values of one YAML document
inline constexpr std::uint64_t kMaxConfigBytes = 64ull << 20;    ///< plan.json, YAML, index.json
inline constexpr std::uint64_t kMaxDocumentBytes = 4ull << 30;   ///< one trace document in memory
inline constexpr std::uint64_t kMaxArchiveEntries = 50'000'000;  ///< files in one archive
/// An archive may unpack to at most this multiple of its size plus 64 MiB.
inline constexpr std::uint64_t kMaxUnpackRatio = 2'000;

}  // namespace moesaic::limits
