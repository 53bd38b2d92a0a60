#include "io/zarr_array.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/check.hpp"
#include "core/limits.hpp"

namespace moesaic::io {
namespace {

/// Steps `at` through the grid `sizes` in C order; false after the last.
bool next(std::vector<std::uint64_t>& at, const std::vector<std::uint64_t>& sizes) {
  for (std::size_t d = at.size(); d-- > 0;) {
    if (++at[d] < sizes[d]) return true;
    at[d] = 0;
  }
  return false;
}

std::vector<std::uint64_t> chunk_grid(const ZarrArray& array) {
  std::vector<std::uint64_t> sizes;
  for (std::size_t d = 0; d < array.shape.size(); ++d) sizes.push_back(array.chunks(d));
  return sizes;
}

Status write_synced(FileSystem& files, const std::string& path, std::string_view bytes) {
  MOESAIC_ASSIGN(const auto file, files.create(path));
  MOESAIC_TRY(file->append(as_bytes(bytes)));
  return file->sync();
}

std::string fill_bytes(ZarrType type, std::size_t count) {
  const std::size_t bytes = count * width(type);
  switch (type) {
    case ZarrType::kUint64:
    case ZarrType::kInt64:
      return std::string(bytes, '\0');
    case ZarrType::kFloat32: {
      std::string text;
      for (std::size_t i = 0; i < count; ++i) text.append("\x00\x00\xC0\x7F", 4);  // quiet NaN
      return text;
    }
    default:
      return std::string(bytes, '\xFF');
  }
}

}  // namespace

Status write_array_metadata(FileSystem& files, const std::string& folder, const ZarrArray& array) {
  MOESAIC_TRY(validate(array, folder));
  return write_synced(files, join_path(folder, "zarr.json"), array_metadata(array));
}

ZarrReader::ZarrReader(FileSystem& files, std::string folder, ZarrArray array)
    : files_(&files),
      folder_(std::move(folder)),
      array_(std::move(array)),
      cache_(std::make_unique<Cache>()) {
  cache_->slots.resize(kOpenChunks);
  cache_->numbers.resize(kOpenChunks);
}

Result<ZarrReader> ZarrReader::open(FileSystem& files, const std::string& folder) {
  const std::string path = join_path(folder, "zarr.json");
  MOESAIC_ASSIGN(const std::string text, read_file(files, path, limits::kMaxConfigBytes));
  MOESAIC_ASSIGN(ZarrArray array, parse_array_metadata(text, path));
  ZarrReader reader(files, folder, std::move(array));
  MOESAIC_TRY(reader.check_chunks());
  return reader;
}

Status ZarrReader::check_chunks() const {
  const std::vector<std::uint64_t> sizes = chunk_grid(array_);
  if (std::ranges::find(sizes, std::uint64_t{0}) != sizes.end()) return {};
  MOESAIC_ASSIGN(const std::vector<std::string> names, files_->list(folder_));
  std::vector<std::uint64_t> at(sizes.size());
  do {  // ends at the first chunk that is not there, so a huge shape costs no more than the folder has
    const std::string key = chunk_key(at);
    if (!std::ranges::binary_search(names, key)) {
      return bad_input(
          fmt::format("{}: chunk \"{}\" is missing; the store is not whole, import it again", folder_, key));
    }
  } while (next(at, sizes));
  return {};
}

Result<std::shared_ptr<const ZarrReader::OpenChunk>> ZarrReader::open_chunk(
    const std::vector<std::uint64_t>& chunk) const {
  std::uint64_t number = 0;
  for (std::size_t d = 0; d < chunk.size(); ++d) number = number * array_.chunks(d) + chunk[d];
  const std::size_t slot = static_cast<std::size_t>(number % kOpenChunks);
  {
    const std::lock_guard lock(cache_->mutex);
    if (cache_->slots[slot] != nullptr && cache_->numbers[slot] == number) return cache_->slots[slot];
  }
  auto opened = std::make_shared<OpenChunk>();
  opened->path = join_path(folder_, chunk_key(chunk));
  MOESAIC_ASSIGN(opened->file, files_->open(opened->path));
  const std::uint64_t max_bytes = encoded_bound(array_.piece_bytes());
  if (array_.inner.empty()) {
    if (opened->file->size() > max_bytes) {
      return bad_input(fmt::format("{}: {} bytes, expected at most {} for a chunk of {}", opened->path,
                                   opened->file->size(), max_bytes, array_.piece_bytes()));
    }
    opened->index = {{.offset = 0, .bytes = opened->file->size()}};
  } else {
    MOESAIC_ASSIGN(opened->index,
                   read_shard_index(*opened->file, opened->path, array_.pieces_per_chunk(), max_bytes));
  }
  const std::lock_guard lock(cache_->mutex);
  cache_->slots[slot] = opened;
  cache_->numbers[slot] = number;
  return std::shared_ptr<const OpenChunk>(std::move(opened));
}

Status ZarrReader::read_piece(const std::vector<std::uint64_t>& at, std::span<std::byte> out) const {
  MOESAIC_CHECK(at.size() == array_.shape.size() && out.size() == array_.piece_bytes());
  std::vector<std::uint64_t> chunk(at.size());
  std::uint64_t inside = 0;
  for (std::size_t d = 0; d < at.size(); ++d) {
    const std::uint64_t each = array_.chunk[d] / array_.piece()[d];
    MOESAIC_CHECK(at[d] * array_.piece()[d] < array_.shape[d]);
    chunk[d] = at[d] / each;
    inside = inside * each + at[d] % each;
  }
  MOESAIC_ASSIGN(const auto opened, open_chunk(chunk));
  const PieceSpan span = opened->index[static_cast<std::size_t>(inside)];
  if (span.absent()) {
    return bad_input(fmt::format("{}: inner chunk {} is missing; the store is not whole, import it again",
                                 opened->path, inside));
  }
  const auto size = static_cast<std::size_t>(span.bytes);
  const auto compressed = std::make_unique_for_overwrite<std::byte[]>(size);
  MOESAIC_TRY(read_exactly(*opened->file, opened->path, span.offset, {compressed.get(), size}));
  // The message is made only when it is needed: a layer has many pieces.
  Status decoded = decode_piece({compressed.get(), size}, out, "");
  if (!decoded) {
    decoded = decode_piece({compressed.get(), size}, out,
                           fmt::format("{}: inner chunk {} at byte {}", opened->path, inside, span.offset));
  }
  return decoded;
}

Result<Hash128> ZarrReader::content_hash() const {
  const std::vector<std::uint64_t> sizes = chunk_grid(array_);
  std::string hashes;
  const auto raw_bytes = static_cast<std::size_t>(array_.piece_bytes());
  const auto raw = std::make_unique_for_overwrite<std::byte[]>(raw_bytes);
  std::vector<std::uint64_t> at(sizes.size());
  const bool empty = std::ranges::find(sizes, std::uint64_t{0}) != sizes.end();
  for (bool more = !empty; more; more = next(at, sizes)) {
    std::string pieces;
    std::vector<std::uint64_t> each(at.size()), inside(at.size()), piece(at.size());
    for (std::size_t d = 0; d < at.size(); ++d) each[d] = array_.chunk[d] / array_.piece()[d];
    do {
      bool within = true;
      for (std::size_t d = 0; d < at.size(); ++d) {
        piece[d] = at[d] * each[d] + inside[d];
        within = within && piece[d] * array_.piece()[d] < array_.shape[d];
      }
      if (!within) continue;  // beyond the edge of the array: never written
      MOESAIC_TRY(read_piece(piece, {raw.get(), raw_bytes}));
      const Hash128 hash = hash128({raw.get(), raw_bytes});
      pieces.append(hash.bytes.data(), hash.bytes.size());
    } while (next(inside, each));
    const Hash128 hash = hash128(as_bytes(pieces));
    hashes.append(hash.bytes.data(), hash.bytes.size());
  }
  return hash128(as_bytes(hashes));
}

Status ZarrReader::expect_column(ZarrType type, std::uint64_t max_elements) const {
  if (array_.shape.size() != 1 || array_.type != type) {
    return bad_input(fmt::format("{}: {} with {} dimensions, expected {} with one", folder_,
                                 name(array_.type), array_.shape.size(), name(type)));
  }
  if (array_.chunk[0] > 16 * kColumnChunk) {
    return bad_input(fmt::format("{}: chunks of {} elements, expected at most {}", folder_, array_.chunk[0],
                                 16 * kColumnChunk));
  }
  if (array_.shape[0] > max_elements) {
    return bad_input(
        fmt::format("{}: {} elements, expected at most {}", folder_, array_.shape[0], max_elements));
  }
  return {};
}

Status ZarrReader::read_column_bytes(std::span<std::byte> out) const {
  const auto raw_bytes = static_cast<std::size_t>(array_.piece_bytes());
  std::vector<std::byte> raw(out.empty() ? 0 : raw_bytes);
  for (std::uint64_t piece = 0; !out.empty(); ++piece) {
    MOESAIC_TRY(read_piece({piece}, raw));
    const std::size_t taken = std::min(raw.size(), out.size());
    std::memcpy(out.data(), raw.data(), taken);
    out = out.subspan(taken);
  }
  return {};
}

Result<Hash128> write_column_bytes(FileSystem& files, const std::string& folder, const ZarrArray& array,
                                   std::span<const std::byte> bytes) {
  MOESAIC_TRY(files.make_directories(folder));
  std::string hashes;
  const auto raw_bytes = static_cast<std::size_t>(array.piece_bytes());
  for (std::uint64_t chunk = 0; !bytes.empty(); ++chunk) {
    std::string raw = fill_bytes(array.type, static_cast<std::size_t>(array.chunk[0]));
    const std::size_t taken = std::min(raw_bytes, bytes.size());
    std::memcpy(raw.data(), bytes.data(), taken);
    bytes = bytes.subspan(taken);
    const EncodedPiece piece = encode_piece(as_bytes(raw));
    const Hash128 hash = shard_hash(std::span(&piece, 1));
    hashes.append(hash.bytes.data(), hash.bytes.size());
    MOESAIC_TRY(write_synced(files, join_path(folder, chunk_key({chunk})), piece.bytes));
  }
  MOESAIC_TRY(write_array_metadata(files, folder, array));
  MOESAIC_TRY(files.sync_directory(folder));
  return hash128(as_bytes(hashes));
}

}  // namespace moesaic::io
