// Bytes in memory behind the interface of a file: for containers inside replies, tests and fuzzers.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "io/files.hpp"

namespace moesaic::io {

/// REQUIRES: the bytes outlive this.
class MemoryFile final : public ReadFile {
 public:
  explicit MemoryFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::uint64_t size() const override { return bytes_.size(); }

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset >= bytes_.size()) return std::size_t{0};
    const std::size_t n = std::min<std::size_t>(out.size(), bytes_.size() - static_cast<std::size_t>(offset));
    if (n > 0) std::memcpy(out.data(), bytes_.data() + offset, n);
    return n;
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace moesaic::io
