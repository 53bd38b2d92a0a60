// What zarr.json says of one array or group: the part of Zarr v3 (core 3.0, sharding_indexed, zstd,
// crc32c) that our stores use. Words: a *chunk* is a file, a *piece* is what is compressed as one: an
// inner chunk of a sharded array, or the whole chunk of a plain one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"

namespace moesaic::io {

/// The fill value is all ones for uint8, uint16 and uint32, 0 for the 64-bit types, NaN for float32. It
/// only pads pieces at the edge of an array: a missing piece is an error.
enum class ZarrType { kUint8, kUint16, kUint32, kUint64, kInt64, kFloat32 };

std::size_t width(ZarrType type);
std::string_view name(ZarrType type);

inline constexpr std::uint64_t kMaxPieceBytes = std::uint64_t{512} << 20;
inline constexpr std::uint64_t kMaxPiecesPerChunk = std::uint64_t{1} << 22;

struct ZarrArray {
  ZarrType type = ZarrType::kUint8;
  std::vector<std::uint64_t> shape;  ///< 1 to 3 dimensions, C order
  std::vector<std::uint64_t> chunk;  ///< of a file
  std::vector<std::uint64_t> inner;  ///< of a piece, divides `chunk`; empty: not sharded
  Json attributes;

  const std::vector<std::uint64_t>& piece() const { return inner.empty() ? chunk : inner; }
  std::uint64_t piece_bytes() const;
  std::uint64_t pieces_per_chunk() const;
  /// How many chunks dimension `d` has.
  std::uint64_t chunks(std::size_t d) const { return (shape[d] + chunk[d] - 1) / chunk[d]; }
};

/// Dimensions and sizes inside the bounds above, `inner` divides `chunk`. Errors name `where`.
Status validate(const ZarrArray& array, const std::string& where);

/// The text of zarr.json. REQUIRES: validate(array).
std::string array_metadata(const ZarrArray& array);
std::string group_metadata(const Json& attributes);

/// Errors (bad input) name `where` and the key: any other codec, grid, type, fill value or key encoding
/// than ours is refused, for we would read it wrongly.
Result<ZarrArray> parse_array_metadata(std::string_view text, const std::string& where);
/// The attributes of a group.
Result<Json> parse_group_metadata(std::string_view text, const std::string& where);

/// File name of a chunk, e.g. "c.3.0.0".
std::string chunk_key(const std::vector<std::uint64_t>& at);

}  // namespace moesaic::io
