// Every outside effect on files goes through this one interface, so that tests can make any operation
// fail (io/faulty_files.hpp). Paths are UTF-8 strings, '/' separates. Errors name path and operation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace moesaic::io {

/// An open file for reading at any offset. read_at is thread-safe.
class ReadFile {
 public:
  virtual ~ReadFile() = default;
  virtual std::uint64_t size() const = 0;
  /// Bytes read: out.size(), or fewer only at the end of the file.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;
};

/// An open file for writing at its end. Closed (without sync) by the destructor.
class WriteFile {
 public:
  virtual ~WriteFile() = default;
  virtual Status append(std::span<const std::byte> bytes) = 0;
  /// Data reach the disk before this returns.
  virtual Status sync() = 0;
};

struct FileStatus {
  bool exists = false;
  bool is_directory = false;
  std::uint64_t size = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<ReadFile>> open(const std::string& path) = 0;
  /// Creates or truncates.
  virtual Result<std::unique_ptr<WriteFile>> create(const std::string& path) = 0;
  /// Creates or opens for appending, cut to `keep` bytes first.
  virtual Result<std::unique_ptr<WriteFile>> append_to(const std::string& path, std::uint64_t keep) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  /// Removes a file, or a folder with all it holds. Nothing there is no error.
  virtual Status remove_all(const std::string& path) = 0;
  virtual Status make_directories(const std::string& path) = 0;
  /// Entries of the folder itself reach the disk before this returns.
  virtual Status sync_directory(const std::string& path) = 0;
  virtual Result<FileStatus> status(const std::string& path) = 0;
  /// Names in a folder, sorted bytewise, without "." and "..".
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
};

/// The machine's files. Thread-safe.
FileSystem& real_files();

/// Whole file; an error when it is larger than `max_bytes`.
Result<std::string> read_file(FileSystem& files, const std::string& path, std::uint64_t max_bytes);

/// Reads exactly out.size() bytes at `offset` or says what is missing. `path` is for the message.
Status read_exactly(const ReadFile& file, const std::string& path, std::uint64_t offset,
                    std::span<std::byte> out);

/// Writes beside `path` ("<path>.tmp"), syncs, renames: the file is there whole or not at all.
/// An existing `path` is refused (bad input) unless `force`.
Status write_file_atomically(FileSystem& files, const std::string& path, std::string_view bytes, bool force);

/// "a/b" -> "a"; "b" -> "."; "/b" -> "/".
std::string parent_path(std::string_view path);
/// "a/b" -> "b"; trailing slashes are ignored.
std::string base_name(std::string_view path);
std::string join_path(std::string_view folder, std::string_view name);

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace moesaic::io
