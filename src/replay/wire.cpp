#include "replay/wire.hpp"

#include <bit>
#include <cstring>

#include "comm/parcel.hpp"
#include "core/check.hpp"

namespace moesaic::replay {
namespace {

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

void append_vectors(comm::Bytes& out, std::span<const float> vectors, Wire wire) {
  const std::size_t at = out.size();
  if (vectors.empty()) return;
  if (wire == Wire::kF32) {
    out.resize(at + vectors.size_bytes());
    std::memcpy(out.data() + at, vectors.data(), vectors.size_bytes());
    return;
  }
  out.resize(at + vectors.size() * 2);
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    const std::uint16_t half = to_bf16(vectors[i]);
    std::memcpy(out.data() + at + 2 * i, &half, 2);
  }
}

}  // namespace

comm::Bytes encode(const Copies& copies, Wire wire) {
  comm::Packer control;
  control.put_span(std::span<const std::uint32_t>(copies.rows_of));
  control.put_span(std::span<const Row>(copies.rows));
  comm::Bytes message = control.take();
  append_vectors(message, copies.vectors, wire);
  return message;
}

Received decode(std::span<const std::byte> message, const Options& options) {
  Received received;
  comm::Unpacker in(message);
  received.copies.rows_of = in.get_vector<std::uint32_t>();
  received.copies.rows = in.get_vector<Row>();
  received.payload_bytes = in.rest().size();
  received.control_bytes = message.size() - received.payload_bytes;
  MOESAIC_CHECK(received.payload_bytes == received.copies.count() * vector_bytes(options));
  received.copies.vectors = decode_vectors(in.rest(), options.wire);
  return received;
}

comm::Bytes encode_vectors(std::span<const float> vectors, Wire wire) {
  comm::Bytes out;
  append_vectors(out, vectors, wire);
  return out;
}

std::vector<float> decode_vectors(std::span<const std::byte> bytes, Wire wire) {
  if (wire == Wire::kF32) {
    std::vector<float> out(bytes.size() / 4);
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * 4);
    return out;
  }
  std::vector<float> out(bytes.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint16_t half = 0;
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    out[i] = std::bit_cast<float>(std::uint32_t{half} << 16);
  }
  return out;
}

}  // namespace moesaic::replay
