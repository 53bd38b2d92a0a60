#include "io/base64.hpp"

#include <fmt/format.h>

#include <array>

namespace moesaic::io {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNone = 0xFF;

constexpr std::array<std::uint8_t, 256> kValues = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNone);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}();

}  // namespace

Result<std::vector<std::byte>> decode_base64(std::string_view text, const std::string& where,
                                             std::uint64_t max_bytes) {
  if (text.size() % 4 != 0) {
    return bad_input(fmt::format("{}: base64 of {} characters, expected a multiple of 4; it is cut short",
                                 where, text.size()));
  }
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const std::size_t size = text.size() / 4 * 3 - padding;
  if (size > max_bytes) {
    return bad_input(fmt::format("{}: base64 of {} bytes, expected at most {}", where, size, max_bytes));
  }
  std::vector<std::byte> out(size);
  std::size_t written = 0;
  const std::size_t digits = text.size() - padding;
  for (std::size_t at = 0; at < text.size(); at += 4) {
    std::uint32_t group = 0;
    for (std::size_t i = at; i < at + 4; ++i) {
      std::uint8_t value = 0;
      if (i < digits) value = kValues[static_cast<unsigned char>(text[i])];
      if (value == kNone) {
        return bad_input(
            fmt::format("{}: byte {} of the base64 text is 0x{:02x}, expected one of A-Z a-z 0-9 + /", where,
                        i, static_cast<unsigned char>(text[i])));
      }
      group = group << 6 | value;
    }
    for (int shift = 16; shift >= 0 && written < size; shift -= 8) {
      out[written++] = static_cast<std::byte>(group >> shift);
    }
    const std::uint32_t unused = padding == 2 ? 0xFFFF : padding == 1 ? 0xFF : 0;
    if (at + 4 == text.size() && (group & unused) != 0) {
      return bad_input(fmt::format("{}: the last base64 group has bits set beyond its last byte", where));
    }
  }
  return out;
}

std::string encode_base64(std::span<const std::byte> bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < n ? std::to_integer<std::uint32_t>(bytes[at + i]) : 0);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += i <= n ? kAlphabet[group >> (18 - 6 * i) & 63] : '=';
    }
  }
  return out;
}

}  // namespace moesaic::io
