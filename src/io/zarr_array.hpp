// Arrays in a folder: zarr.json and the chunk files beside it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "core/result.hpp"
#include "io/files.hpp"
#include "io/zarr_metadata.hpp"
#include "io/zarr_piece.hpp"
#include "io/zarr_shard.hpp"

namespace moesaic::io {

template <class T>
constexpr ZarrType zarr_type() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return ZarrType::kUint8;
  if constexpr (std::is_same_v<T, std::uint16_t>) return ZarrType::kUint16;
  if constexpr (std::is_same_v<T, std::uint32_t>) return ZarrType::kUint32;
  if constexpr (std::is_same_v<T, std::uint64_t>) return ZarrType::kUint64;
  if constexpr (std::is_same_v<T, std::int64_t>) return ZarrType::kInt64;
  if constexpr (std::is_same_v<T, float>) return ZarrType::kFloat32;
}

/// Writes `folder`/zarr.json, synced.
Status write_array_metadata(FileSystem& files, const std::string& folder, const ZarrArray& array);

/// Reads one array, piece by piece. Thread-safe.
class ZarrReader {
 public:
  /// Reads the metadata and checks that every chunk file is there.
  static Result<ZarrReader> open(FileSystem& files, const std::string& folder);

  const std::string& folder() const { return folder_; }
  const ZarrArray& array() const { return array_; }

  /// Decodes the piece at `at` (piece coordinates) to its array().piece_bytes() bytes, padding included.
  /// Errors (bad input): a missing or damaged piece. Cost: one read and its decompression; the index of a
  /// shard is kept for the shards used last. REQUIRES: `at` inside the array, out of that size.
  Status read_piece(const std::vector<std::uint64_t>& at, std::span<std::byte> out) const;

  /// Hash of the decoded contents: of the shard_hash of each chunk, in C order. Reads everything.
  Result<Hash128> content_hash() const;

  /// A one-dimensional array of T and at most `max_elements`, whole.
  template <class T>
  Result<std::vector<T>> read_column(std::uint64_t max_elements) const {
    MOESAIC_TRY(expect_column(zarr_type<T>(), max_elements));
    std::vector<T> values(static_cast<std::size_t>(array_.shape[0]));
    MOESAIC_TRY(read_column_bytes(std::as_writable_bytes(std::span(values))));
    return values;
  }

 private:
  struct OpenChunk {
    std::string path;
    std::unique_ptr<ReadFile> file;
    std::vector<PieceSpan> index;
  };
  static constexpr std::size_t kOpenChunks = 64;  ///< bounds open files and memory, not the store
  struct Cache {
    std::mutex mutex;
    std::vector<std::shared_ptr<const OpenChunk>> slots;  ///< by chunk number modulo kOpenChunks
    std::vector<std::uint64_t> numbers;
  };

  ZarrReader(FileSystem& files, std::string folder, ZarrArray array);
  Status check_chunks() const;
  Result<std::shared_ptr<const OpenChunk>> open_chunk(const std::vector<std::uint64_t>& chunk) const;
  Status expect_column(ZarrType type, std::uint64_t max_elements) const;
  Status read_column_bytes(std::span<std::byte> out) const;

  FileSystem* files_;
  std::string folder_;
  ZarrArray array_;
  std::unique_ptr<Cache> cache_;
};

/// Elements of a chunk of a column; a shorter column is one chunk.
inline constexpr std::uint64_t kColumnChunk = 65'536;

/// Writes `folder` with the one-dimensional `array` of these bytes, all files synced. Returns its
/// content_hash.
Result<Hash128> write_column_bytes(FileSystem& files, const std::string& folder, const ZarrArray& array,
                                   std::span<const std::byte> bytes);

template <class T>
Result<Hash128> write_column(FileSystem& files, const std::string& folder, std::span<const T> values,
                             Json attributes = {}) {
  const ZarrArray array{.type = zarr_type<T>(),
                        .shape = {values.size()},
                        .chunk = {std::clamp<std::uint64_t>(values.size(), 1, kColumnChunk)},
                        .inner = {},
                        .attributes = std::move(attributes)};
  return write_column_bytes(files, folder, array, std::as_bytes(values));
}

}  // namespace moesaic::io
