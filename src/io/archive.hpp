// Files inside archives, one at a time: .tar, .tar.xz, .tar.zst, .tar.gz, .zip. The archive may come from
// anybody, so names, counts and sizes are bounded before memory is taken.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/limits.hpp"
#include "core/result.hpp"
#include "io/files.hpp"

namespace moesaic::io {

struct UnpackLimits {
  std::uint64_t max_entries = limits::kMaxArchiveEntries;
  std::uint64_t max_entry_bytes = limits::kMaxDocumentBytes;
  /// All entries together may be at most ratio * (bytes of the archive) + slack.
  std::uint64_t max_ratio = limits::kMaxUnpackRatio;
  std::uint64_t slack_bytes = std::uint64_t{64} << 20;
};

struct ArchiveEntry {
  std::string name;  ///< relative, '/' separated, without "." parts
  std::string bytes;
};

/// REQUIRES: a file given by reference outlives the reader. Not thread-safe.
class ArchiveReader {
 public:
  /// `where` names the archive in messages.
  static Result<ArchiveReader> open(const ReadFile& file, const std::string& where,
                                    const UnpackLimits& limits = {});
  static Result<ArchiveReader> open(FileSystem& files, const std::string& path,
                                    const UnpackLimits& limits = {});
  ArchiveReader(ArchiveReader&&) noexcept;
  ArchiveReader& operator=(ArchiveReader&&) noexcept;
  ~ArchiveReader();

  /// The next regular file, or nothing at the end. Folders are passed over. Errors (bad input) name the
  /// archive and the entry: an absolute name or one with "..", a link or device, an encrypted entry,
  /// damage, a bound of `limits` passed, a cut file. After an error the reader must not be used.
  Result<std::optional<ArchiveEntry>> next();
  /// As next(), but gives names only and does not unpack more than it must.
  Result<std::optional<std::string>> next_name();

 private:
  struct Impl;
  explicit ArchiveReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// True for names that end in .tar, .tar.xz, .txz, .tar.zst, .tar.gz, .tgz or .zip.
bool is_archive_name(std::string_view path);

}  // namespace moesaic::io
