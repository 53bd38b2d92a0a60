#include "io/libarchive_source.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace moesaic::io {

struct LibarchiveSource::Callbacks {
  static la_ssize_t read(archive*, void* self, const void** out) {
    auto& source = *static_cast<LibarchiveSource*>(self);
    auto got = source.file_.read_at(source.position_, source.block_);
    if (!got) {
      source.read_error_ = std::move(got).error();
      return -1;
    }
    source.position_ += *got;
    *out = source.block_.data();
    return static_cast<la_ssize_t>(*got);
  }

  static la_int64_t skip(archive*, void* self, la_int64_t wanted) {
    auto& source = *static_cast<LibarchiveSource*>(self);
    const std::uint64_t left = source.file_.size() - std::min(source.file_.size(), source.position_);
    const std::uint64_t step = std::min(left, static_cast<std::uint64_t>(std::max<la_int64_t>(wanted, 0)));
    source.position_ += step;
    return static_cast<la_int64_t>(step);
  }

  static la_int64_t seek(archive*, void* self, la_int64_t offset, int whence) {
    auto& source = *static_cast<LibarchiveSource*>(self);
    const auto size = static_cast<la_int64_t>(source.file_.size());
    const la_int64_t base = whence == SEEK_SET   ? 0
                            : whence == SEEK_END ? size
                                                 : static_cast<la_int64_t>(source.position_);
    la_int64_t target = 0;
    if (__builtin_add_overflow(base, offset, &target)) return ARCHIVE_FATAL;
    target = std::clamp<la_int64_t>(target, 0, size);
    source.position_ = static_cast<std::uint64_t>(target);
    return target;
  }
};

LibarchiveSource::LibarchiveSource(const ReadFile& file, std::string where, std::uint64_t max_bytes)
    : file_(file),
      where_(std::move(where)),
      max_bytes_(max_bytes),
      block_(static_cast<std::size_t>(std::clamp<std::uint64_t>(file.size(), 1, 1 << 18))) {}

LibarchiveSource::~LibarchiveSource() { archive_read_free(handle_); }

Result<std::unique_ptr<LibarchiveSource>> LibarchiveSource::open(const ReadFile& file,
                                                                 const std::string& where, Unpack unpack,
                                                                 std::uint64_t max_bytes) {
  std::unique_ptr<LibarchiveSource> source(new LibarchiveSource(file, where, max_bytes));
  archive* handle = source->handle_ = archive_read_new();
  if (handle == nullptr) return environment_error(fmt::format("{}: no memory for a reader", where));
  archive_read_support_filter_gzip(handle);
  archive_read_support_filter_xz(handle);
  archive_read_support_filter_zstd(handle);
  archive_read_support_format_empty(handle);
  if (unpack == Unpack::kArchive) {
    archive_read_support_format_tar(handle);
    // Not the streaming zip reader: it takes a zip without its directory, which is a cut one, for whole.
    archive_read_support_format_zip_seekable(handle);
  } else {
    archive_read_support_format_raw(handle);
  }
  archive_read_set_callback_data(handle, source.get());
  archive_read_set_read_callback(handle, Callbacks::read);
  archive_read_set_skip_callback(handle, Callbacks::skip);
  archive_read_set_seek_callback(handle, Callbacks::seek);
  if (archive_read_open1(handle) < ARCHIVE_WARN) return source->failure("");
  // libarchive unpacks a .gz inside an .xz inside ... as one stream; nobody honest ships that.
  const int filters = archive_filter_count(handle);  // the file itself counts as one
  if (filters > 2) {
    return bad_input(
        fmt::format("{}: compressed {} times over; unpack it once and try again", where, filters - 1));
  }
  if (unpack == Unpack::kSingleFile && filters != 2) {
    return bad_input(
        fmt::format("{}: is no xz, zstd or gzip file; rename it if it is not compressed", where));
  }
  return source;
}

tl::unexpected<Error> LibarchiveSource::failure(const std::string& entry) const {
  if (read_error_) return tl::unexpected(*read_error_);
  const char* text = archive_error_string(handle_);
  return bad_input(
      fmt::format("{}{}{}: cannot unpack near byte {} of {}: {}; the file is damaged, cut short "
                  "or of another kind",
                  where_, entry.empty() ? "" : ": ", entry, position_, file_.size(),
                  text == nullptr ? "unknown form" : text));
}

Result<archive_entry*> LibarchiveSource::next_header() {
  archive_entry* entry = nullptr;
  const int code = archive_read_next_header(handle_, &entry);
  if (code == ARCHIVE_EOF) return nullptr;
  if (code < ARCHIVE_WARN || read_error_) return failure("");
  return entry;
}

Result<std::size_t> LibarchiveSource::read(std::span<std::byte> out, const std::string& entry) {
  std::size_t done = 0;
  while (done < out.size()) {
    const la_ssize_t got = archive_read_data(handle_, out.data() + done, out.size() - done);
    if (got == 0) break;
    if (got < 0 || read_error_) return failure(entry);
    done += static_cast<std::size_t>(got);
    unpacked_ += static_cast<std::uint64_t>(got);
    if (unpacked_ > max_bytes_) {
      return bad_input(
          fmt::format("{}{}{}: unpacks to more than {} bytes from {}; this looks like an archive "
                      "bomb, unpack it by hand if it is meant",
                      where_, entry.empty() ? "" : ": ", entry, max_bytes_, file_.size()));
    }
  }
  if (read_error_) return failure(entry);
  return done;
}

}  // namespace moesaic::io
