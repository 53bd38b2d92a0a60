// A file read from front to back, unpacked on the way when its name ends in .xz, .zst or .gz.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "io/archive.hpp"
#include "io/files.hpp"

namespace moesaic::io {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  /// Fills `out`; fewer bytes only at the end. Not thread-safe.
  virtual Result<std::size_t> read(std::span<std::byte> out) = 0;
};

/// Opens a plain or a single compressed file. Bounds of `limits` hold for the unpacked bytes, except that
/// max_entry_bytes is not applied: a stream may be larger than memory.
Result<std::unique_ptr<ByteStream>> open_stream(FileSystem& files, const std::string& path,
                                                const UnpackLimits& limits = {});

/// All that is left; an error when that is more than `max_bytes`.
Result<std::string> read_all(ByteStream& stream, const std::string& where, std::uint64_t max_bytes);

/// open_stream + read_all: the whole plain or compressed file.
Result<std::string> read_maybe_compressed(FileSystem& files, const std::string& path,
                                          std::uint64_t max_bytes);

/// "a/b.json.xz" -> "a/b.json"; a name without .xz, .zst or .gz stays as it is.
std::string_view without_compression(std::string_view path);

}  // namespace moesaic::io
