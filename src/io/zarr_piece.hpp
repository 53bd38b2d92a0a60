// The codec of one piece (zstd level 5 with checksum) and the hashes of contents. Hashes are of
// decoded bytes, so that they do not depend on the version of zstd.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace moesaic::io {

/// XXH3 128-bit hash in its canonical (big-endian) bytes; all zero for "none".
struct Hash128 {
  std::array<char, 16> bytes{};
  bool operator==(const Hash128&) const = default;
};
Hash128 hash128(std::span<const std::byte> bytes);
/// 32 hexadecimal digits, and back (false when `text` is anything else).
std::string hex(const Hash128& hash);
bool parse_hex(std::string_view text, Hash128& out);

struct EncodedPiece {
  std::string bytes;  ///< compressed; empty: absent
  Hash128 hash;       ///< of the decoded bytes
};

/// Deterministic: equal bytes in, equal bytes out. Thread-safe.
EncodedPiece encode_piece(std::span<const std::byte> raw);

/// Decodes exactly out.size() bytes. Errors (bad input) name `where`: damage, checksum, another size.
Status decode_piece(std::span<const std::byte> compressed, std::span<std::byte> out,
                    const std::string& where);

/// The most bytes encode_piece gives for `raw` bytes.
std::uint64_t encoded_bound(std::uint64_t raw);

}  // namespace moesaic::io
