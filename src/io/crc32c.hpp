// CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected; RFC 3720 appendix B.4), as Zarr's crc32c codec
// appends it. For indexes of some kB: a byte table, not hardware.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace moesaic::io {

std::uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace moesaic::io
