// Base64 with the standard alphabet (RFC 4648 section 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace moesaic::io {

/// Strict: only the alphabet, padded to a multiple of four, no line breaks, unused bits zero. Errors name
/// `where` and the byte; more than `max_bytes` decoded bytes are refused before anything is allocated.
Result<std::vector<std::byte>> decode_base64(std::string_view text, const std::string& where,
                                             std::uint64_t max_bytes);

std::string encode_base64(std::span<const std::byte> bytes);

}  // namespace moesaic::io
