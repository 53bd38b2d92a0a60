#include "io/byte_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "io/libarchive_source.hpp"

namespace moesaic::io {
namespace {

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(std::unique_ptr<ReadFile> file) : file_(std::move(file)) {}

  Result<std::size_t> read(std::span<std::byte> out) override {
    MOESAIC_ASSIGN(const std::size_t got, file_->read_at(position_, out));
    position_ += got;
    return got;
  }

 private:
  std::unique_ptr<ReadFile> file_;
  std::uint64_t position_ = 0;
};

class UnpackedStream final : public ByteStream {
 public:
  UnpackedStream(std::unique_ptr<ReadFile> file, std::unique_ptr<LibarchiveSource> source)
      : file_(std::move(file)), source_(std::move(source)) {}

  Result<std::size_t> read(std::span<std::byte> out) override { return source_->read(out, ""); }

 private:
  std::unique_ptr<ReadFile> file_;
  std::unique_ptr<LibarchiveSource> source_;
};

}  // namespace

std::string_view without_compression(std::string_view path) {
  for (const std::string_view ending : {".xz", ".zst", ".gz"}) {
    if (path.ends_with(ending)) return path.substr(0, path.size() - ending.size());
  }
  return path;
}

Result<std::unique_ptr<ByteStream>> open_stream(FileSystem& files, const std::string& path,
                                                const UnpackLimits& limits) {
  MOESAIC_ASSIGN(auto file, files.open(path));
  if (without_compression(path).size() == path.size()) return std::make_unique<PlainStream>(std::move(file));
  std::uint64_t bound = 0;
  if (__builtin_mul_overflow(file->size(), limits.max_ratio, &bound) ||
      __builtin_add_overflow(bound, limits.slack_bytes, &bound)) {
    bound = std::numeric_limits<std::uint64_t>::max();
  }
  if (file->size() == 0) return bad_input(fmt::format("{}: is empty, expected a compressed file", path));
  MOESAIC_ASSIGN(auto source, LibarchiveSource::open(*file, path, Unpack::kSingleFile, bound));
  MOESAIC_ASSIGN(archive_entry* const entry, source->next_header());
  if (entry == nullptr) return bad_input(fmt::format("{}: holds nothing", path));
  return std::make_unique<UnpackedStream>(std::move(file), std::move(source));
}

Result<std::string> read_all(ByteStream& stream, const std::string& where, std::uint64_t max_bytes) {
  std::string bytes;
  std::size_t step = std::size_t{1} << 18;
  for (;;) {
    const std::size_t before = bytes.size();
    bytes.resize(before + step);
    MOESAIC_ASSIGN(const std::size_t got,
                   stream.read(std::as_writable_bytes(std::span(bytes)).subspan(before)));
    bytes.resize(before + got);
    if (bytes.size() > max_bytes) {
      return bad_input(
          fmt::format("{}: more than {} bytes, the most that is read as one document", where, max_bytes));
    }
    if (got < step) return bytes;
    step = std::max(step, bytes.size());
  }
}

Result<std::string> read_maybe_compressed(FileSystem& files, const std::string& path,
                                          std::uint64_t max_bytes) {
  // A plain file has a size: no guessing, no growing.
  if (without_compression(path).size() == path.size()) return read_file(files, path, max_bytes);
  MOESAIC_ASSIGN(const auto stream, open_stream(files, path));
  return read_all(*stream, path, max_bytes);
}

}  // namespace moesaic::io
