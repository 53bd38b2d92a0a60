#include "io/zarr_shard.hpp"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "core/check.hpp"
#include "io/crc32c.hpp"

namespace moesaic::io {

static_assert(std::endian::native == std::endian::little, "stores are little-endian and read without swaps");
static_assert(sizeof(PieceSpan) == 16);
namespace {
constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
}

Result<std::uint64_t> write_shard(FileSystem& files, const std::string& path,
                                  std::span<const EncodedPiece> pieces, std::size_t rows) {
  MOESAIC_CHECK(rows > 0 && pieces.size() % rows == 0);
  const std::size_t columns = pieces.size() / rows;
  MOESAIC_ASSIGN(const auto file, files.create(path));
  std::vector<PieceSpan> index(pieces.size());
  std::string buffer;  // few writes, and no second copy of the shard
  std::uint64_t offset = 0;
  for (std::size_t column = 0; column < columns; ++column) {
    for (std::size_t row = 0; row < rows; ++row) {
      const EncodedPiece& piece = pieces[row * columns + column];
      if (piece.bytes.empty()) continue;
      index[row * columns + column] = {.offset = offset, .bytes = piece.bytes.size()};
      offset += piece.bytes.size();
      buffer += piece.bytes;
      if (buffer.size() < kBufferBytes) continue;
      MOESAIC_TRY(file->append(as_bytes(buffer)));
      buffer.clear();
    }
  }
  const auto index_bytes = std::as_bytes(std::span(index));
  const std::uint32_t crc = crc32c(index_bytes);
  buffer.append(reinterpret_cast<const char*>(index_bytes.data()), index_bytes.size());
  buffer.append(reinterpret_cast<const char*>(&crc), sizeof crc);
  MOESAIC_TRY(file->append(as_bytes(buffer)));
  MOESAIC_TRY(file->sync());
  return offset + index_bytes.size() + sizeof crc;
}

Hash128 shard_hash(std::span<const EncodedPiece> pieces) {
  std::string hashes;
  for (const EncodedPiece& piece : pieces) {
    if (!piece.bytes.empty()) hashes.append(piece.hash.bytes.data(), piece.hash.bytes.size());
  }
  return hash128(as_bytes(hashes));
}

Result<std::vector<PieceSpan>> read_shard_index(const ReadFile& file, const std::string& path,
                                                std::uint64_t pieces, std::uint64_t max_bytes) {
  const std::uint64_t index_bytes = pieces * sizeof(PieceSpan);
  if (file.size() < index_bytes + sizeof(std::uint32_t)) {
    return bad_input(
        fmt::format("{}: {} bytes, expected at least {} for the index at its end; the file is cut "
                    "short, import the store again",
                    path, file.size(), index_bytes + sizeof(std::uint32_t)));
  }
  const std::uint64_t data_bytes = file.size() - index_bytes - sizeof(std::uint32_t);
  std::vector<PieceSpan> index(static_cast<std::size_t>(pieces));
  MOESAIC_TRY(read_exactly(file, path, data_bytes, std::as_writable_bytes(std::span(index))));
  std::uint32_t crc = 0;
  MOESAIC_TRY(read_exactly(file, path, data_bytes + index_bytes, std::as_writable_bytes(std::span(&crc, 1))));
  const std::uint32_t computed = crc32c(std::as_bytes(std::span(index)));
  if (crc != computed) {
    return bad_input(
        fmt::format("{}: crc32c of the index at byte {} is {:08x}, the file says {:08x}; the store is "
                    "damaged, import it again",
                    path, data_bytes, computed, crc));
  }
  for (std::size_t i = 0; i < index.size(); ++i) {
    const PieceSpan& span = index[i];
    if (span.absent()) continue;
    if (span.offset > data_bytes || span.bytes > data_bytes - span.offset || span.bytes > max_bytes) {
      return bad_input(
          fmt::format("{}: inner chunk {} has {} bytes at byte {}, expected a span of at most {} bytes "
                      "before byte {}",
                      path, i, span.bytes, span.offset, max_bytes, data_bytes));
    }
  }
  return index;
}

}  // namespace moesaic::io
