// Safetensors files: a little-endian 8-byte header length, a JSON header, raw data
// (format description of huggingface/safetensors, read against 0.4).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "io/array.hpp"
#include "io/files.hpp"

namespace moesaic::io {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kInt64;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;  ///< bytes of the file
};

/// The header is held, data are read on demand. Not thread-safe only in that the file is not.
class Safetensors {
 public:
  /// Errors (bad input) name `where` and the tensor: a header that does not fit or parse, a type that is
  /// not known, offsets outside the data, that overlap, leave holes or disagree with the shape.
  static Result<Safetensors> open(const ReadFile& file, const std::string& where);

  /// By name, bytewise.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  /// Reads one tensor. REQUIRES: `entry` is one of entries() and the file is still there.
  Result<Array> read(const SafetensorsEntry& entry) const;

 private:
  Safetensors(const ReadFile& file, std::string where) : file_(&file), where_(std::move(where)) {}

  const ReadFile* file_;
  std::string where_;
  std::vector<SafetensorsEntry> entries_;
};

}  // namespace moesaic::io
