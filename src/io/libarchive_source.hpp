// libarchive over a ReadFile: the reading side shared by io/archive.cpp and io/byte_stream.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "io/files.hpp"

struct archive;
struct archive_entry;

namespace moesaic::io {

enum class Unpack { kArchive, kSingleFile };

/// Owns the libarchive handle and the bound on all bytes it unpacks. Not thread-safe.
class LibarchiveSource {
 public:
  /// `max_bytes` bounds what read() gives over the whole life. REQUIRES: `file` outlives this.
  static Result<std::unique_ptr<LibarchiveSource>> open(const ReadFile& file, const std::string& where,
                                                        Unpack unpack, std::uint64_t max_bytes);
  ~LibarchiveSource();
  LibarchiveSource(const LibarchiveSource&) = delete;
  LibarchiveSource& operator=(const LibarchiveSource&) = delete;

  /// The next header, or nullptr at the end.
  Result<archive_entry*> next_header();
  /// Data of the current entry; fewer bytes than asked only at its end. `entry` is for messages.
  Result<std::size_t> read(std::span<std::byte> out, const std::string& entry);

 private:
  struct Callbacks;
  LibarchiveSource(const ReadFile& file, std::string where, std::uint64_t max_bytes);
  tl::unexpected<Error> failure(const std::string& entry) const;

  const ReadFile& file_;
  std::string where_;
  std::uint64_t max_bytes_;
  std::uint64_t unpacked_ = 0;
  std::uint64_t position_ = 0;
  std::vector<std::byte> block_;
  std::optional<Error> read_error_;
  archive* handle_ = nullptr;
};

}  // namespace moesaic::io
