// A shard: pieces, then an index of (offset, bytes) little-endian uint64 pairs in C order of the pieces,
// all ones for an absent piece, then the crc32c of the index (Zarr's sharding_indexed, index at the end).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "io/files.hpp"
#include "io/zarr_piece.hpp"

namespace moesaic::io {

struct PieceSpan {
  static constexpr std::uint64_t kAbsent = ~std::uint64_t{0};
  std::uint64_t offset = kAbsent;
  std::uint64_t bytes = kAbsent;
  bool absent() const { return offset == kAbsent && bytes == kAbsent; }
  bool operator==(const PieceSpan&) const = default;
};

/// Writes and syncs the file. `pieces` in C order; in the file they lie column by column of a
/// [rows, pieces / rows] grid, so that the pieces of one column are one stretch. Returns its size.
Result<std::uint64_t> write_shard(FileSystem& files, const std::string& path,
                                  std::span<const EncodedPiece> pieces, std::size_t rows);

/// Hash of the hashes of the pieces that are there, in C order.
Hash128 shard_hash(std::span<const EncodedPiece> pieces);

/// Reads and checks the index of a shard of `pieces` pieces: crc32c, every span inside the file, before
/// the index, and at most `max_bytes` long.
Result<std::vector<PieceSpan>> read_shard_index(const ReadFile& file, const std::string& path,
                                                std::uint64_t pieces, std::uint64_t max_bytes);

}  // namespace moesaic::io
