#include "io/zarr_piece.hpp"

#include <fmt/format.h>
#include <xxhash.h>
#include <zstd.h>

#include <memory>

#include "core/check.hpp"

namespace moesaic::io {
namespace {

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

ZSTD_CCtx* compressor() {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context = [] {
    std::unique_ptr<ZSTD_CCtx, FreeContext> made(ZSTD_createCCtx());
    MOESAIC_CHECK(made != nullptr);
    ZSTD_CCtx_setParameter(made.get(), ZSTD_c_compressionLevel, 5);
    ZSTD_CCtx_setParameter(made.get(), ZSTD_c_checksumFlag, 1);
    return made;
  }();
  return context.get();
}

ZSTD_DCtx* decompressor() {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
  MOESAIC_CHECK(context != nullptr);
  return context.get();
}

}  // namespace

Hash128 hash128(std::span<const std::byte> bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  Hash128 hash;
  for (std::size_t i = 0; i < hash.bytes.size(); ++i) hash.bytes[i] = static_cast<char>(canonical.digest[i]);
  return hash;
}

std::string hex(const Hash128& hash) {
  std::string text;
  for (const char c : hash.bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

bool parse_hex(std::string_view text, Hash128& out) {
  if (text.size() != 2 * out.bytes.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const std::size_t digit = kDigits.find(text[i]);
    if (digit == std::string_view::npos) return false;
    const std::size_t high = i % 2 == 0 ? 0 : static_cast<unsigned char>(out.bytes[i / 2]) * std::size_t{16};
    out.bytes[i / 2] = static_cast<char>(high + digit);
  }
  return true;
}

EncodedPiece encode_piece(std::span<const std::byte> raw) {
  EncodedPiece piece;
  piece.hash = hash128(raw);
  piece.bytes.resize(ZSTD_compressBound(raw.size()));
  const std::size_t size =
      ZSTD_compress2(compressor(), piece.bytes.data(), piece.bytes.size(), raw.data(), raw.size());
  MOESAIC_CHECK(ZSTD_isError(size) == 0);  // the bound is enough, so only a bug can fail
  piece.bytes.resize(size);
  piece.bytes.shrink_to_fit();
  return piece;
}

Status decode_piece(std::span<const std::byte> compressed, std::span<std::byte> out,
                    const std::string& where) {
  const unsigned long long claimed = ZSTD_getFrameContentSize(compressed.data(), compressed.size());
  if (claimed == ZSTD_CONTENTSIZE_ERROR) {
    return bad_input(fmt::format("{}: not a zstd frame; the store is damaged, import it again", where));
  }
  if (claimed != ZSTD_CONTENTSIZE_UNKNOWN && claimed != out.size()) {
    return bad_input(fmt::format("{}: claims {} bytes, expected {}; the store is damaged, import it again",
                                 where, claimed, out.size()));
  }
  const std::size_t size =
      ZSTD_decompressDCtx(decompressor(), out.data(), out.size(), compressed.data(), compressed.size());
  if (ZSTD_isError(size) != 0) {
    return bad_input(fmt::format("{}: cannot decompress: {}; the store is damaged, import it again", where,
                                 ZSTD_getErrorName(size)));
  }
  if (size != out.size()) {
    return bad_input(fmt::format("{}: holds {} bytes, expected {}; the store is damaged, import it again",
                                 where, size, out.size()));
  }
  return {};
}

std::uint64_t encoded_bound(std::uint64_t raw) { return ZSTD_compressBound(raw); }

}  // namespace moesaic::io
