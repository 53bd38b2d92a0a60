#include "io/archive.hpp"

#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "io/libarchive_source.hpp"

namespace moesaic::io {
namespace {

/// The name with "." parts taken out, or an error when it could leave the folder it is unpacked into.
Result<std::string> safe_name(const char* raw, const std::string& where) {
  if (raw == nullptr || *raw == '\0')
    return bad_input(fmt::format("{}: holds an entry without a name", where));
  const std::string_view name(raw);
  if (name.size() > limits::kMaxStringBytes) {
    return bad_input(fmt::format("{}: holds a name of {} bytes, expected at most {}", where, name.size(),
                                 limits::kMaxStringBytes));
  }
  const auto refuse = [&](std::string_view what) {
    return bad_input(
        fmt::format("{}: entry \"{}\" {}; expected a relative name inside the archive", where, name, what));
  };
  if (name.starts_with('/')) return refuse("has an absolute name");
  if (name.find('\\') != std::string_view::npos) return refuse("has a backslash in its name");
  std::string out;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part == "..") return refuse("climbs out with \"..\"");
    if (!part.empty() && part != ".") out = join_path(out, part);
    begin = end + 1;
  }
  return out;
}

/// A tar ends in a block of zeros. libarchive takes the end of the file for it, so that a plain .tar cut
/// between two entries would pass for whole; compressed ones are guarded by their own framing.
Status check_tar_end(const ReadFile& file, const std::string& where) {
  std::array<std::byte, 512> head{}, tail{};
  if (file.size() < head.size()) return {};
  MOESAIC_TRY(read_exactly(file, where, 0, head));
  const std::string_view magic(reinterpret_cast<const char*>(head.data()) + 257, 5);
  if (magic != "ustar") return {};
  MOESAIC_TRY(read_exactly(file, where, file.size() - tail.size(), tail));
  if (std::ranges::any_of(tail, [](std::byte b) { return b != std::byte{0}; })) {
    return bad_input(fmt::format(
        "{}: ends at byte {} without the closing block of a tar file; it is cut short", where, file.size()));
  }
  return {};
}

std::uint64_t total_bound(std::uint64_t packed, const UnpackLimits& limits) {
  std::uint64_t total = 0;
  if (__builtin_mul_overflow(packed, limits.max_ratio, &total) ||
      __builtin_add_overflow(total, limits.slack_bytes, &total)) {
    return std::numeric_limits<std::uint64_t>::max();
  }
  return total;
}

}  // namespace

struct ArchiveReader::Impl {
  std::unique_ptr<ReadFile> owned;
  std::string where;
  UnpackLimits limits;
  std::unique_ptr<LibarchiveSource> source;
  std::uint64_t entries = 0;
  std::uint64_t entry_claims = 0;

  /// Goes to the next regular file and gives its name; empty at the end.
  Result<std::string> advance() {
    for (;;) {
      MOESAIC_ASSIGN(archive_entry* const entry, source->next_header());
      if (entry == nullptr) return std::string();
      if (++entries > limits.max_entries) {
        return bad_input(fmt::format("{}: holds more than {} entries; split it", where, limits.max_entries));
      }
      const char* raw = archive_entry_pathname_utf8(entry);
      MOESAIC_ASSIGN(std::string name,
                     safe_name(raw != nullptr ? raw : archive_entry_pathname(entry), where));
      if (archive_entry_filetype(entry) == AE_IFDIR) continue;
      if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != nullptr) {
        return bad_input(
            fmt::format("{}: entry \"{}\" is a link or device; expected regular files only", where, name));
      }
      if (name.empty()) return bad_input(fmt::format("{}: holds an entry without a name", where));
      if (archive_entry_is_encrypted(entry) != 0) {
        return bad_input(fmt::format("{}: entry \"{}\" is encrypted; unpack it first", where, name));
      }
      entry_claims = archive_entry_size_is_set(entry) != 0
                         ? static_cast<std::uint64_t>(std::max<la_int64_t>(archive_entry_size(entry), 0))
                         : 0;
      if (entry_claims > limits.max_entry_bytes) return too_large(name);
      return name;
    }
  }

  tl::unexpected<Error> too_large(const std::string& name) const {
    return bad_input(fmt::format("{}: entry \"{}\" has more than {} bytes, the most one entry may have",
                                 where, name, limits.max_entry_bytes));
  }

  /// The claimed size is a hint only: memory grows with the bytes that really come.
  Result<std::string> contents(const std::string& name) {
    constexpr std::uint64_t kFirstBytes = 1 << 20;
    std::string bytes;
    std::size_t step = static_cast<std::size_t>(std::min(entry_claims + 1, kFirstBytes));
    for (;;) {
      const std::size_t before = bytes.size();
      bytes.resize(before + step);
      MOESAIC_ASSIGN(const std::size_t got,
                     source->read(std::as_writable_bytes(std::span(bytes)).subspan(before), name));
      bytes.resize(before + got);
      if (bytes.size() > limits.max_entry_bytes) return too_large(name);
      if (got < step) break;
      step = std::max<std::size_t>(bytes.size(), 4096);
    }
    return bytes;
  }
};

ArchiveReader::ArchiveReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ArchiveReader::ArchiveReader(ArchiveReader&&) noexcept = default;
ArchiveReader& ArchiveReader::operator=(ArchiveReader&&) noexcept = default;
ArchiveReader::~ArchiveReader() = default;

Result<ArchiveReader> ArchiveReader::open(const ReadFile& file, const std::string& where,
                                          const UnpackLimits& limits) {
  if (file.size() == 0) return bad_input(fmt::format("{}: is empty, expected an archive", where));
  MOESAIC_TRY(check_tar_end(file, where));
  auto impl = std::make_unique<Impl>();
  impl->where = where;
  impl->limits = limits;
  MOESAIC_ASSIGN(impl->source,
                 LibarchiveSource::open(file, where, Unpack::kArchive, total_bound(file.size(), limits)));
  return ArchiveReader(std::move(impl));
}

Result<ArchiveReader> ArchiveReader::open(FileSystem& files, const std::string& path,
                                          const UnpackLimits& limits) {
  MOESAIC_ASSIGN(auto file, files.open(path));
  MOESAIC_ASSIGN(auto reader, open(*file, path, limits));
  reader.impl_->owned = std::move(file);
  return reader;
}

Result<std::optional<ArchiveEntry>> ArchiveReader::next() {
  MOESAIC_ASSIGN(std::string name, impl_->advance());
  if (name.empty()) return std::nullopt;
  MOESAIC_ASSIGN(std::string bytes, impl_->contents(name));
  return ArchiveEntry{std::move(name), std::move(bytes)};
}

Result<std::optional<std::string>> ArchiveReader::next_name() {
  MOESAIC_ASSIGN(std::string name, impl_->advance());
  if (name.empty()) return std::nullopt;
  return std::optional(std::move(name));
}

bool is_archive_name(std::string_view path) {
  constexpr std::string_view kEndings[] = {".tar", ".tar.xz", ".txz", ".tar.zst", ".tar.gz", ".tgz", ".zip"};
  return std::ranges::any_of(kEndings, [&](std::string_view ending) { return path.ends_with(ending); });
}

}  // namespace moesaic::io
