// Hidden states as they travel: float32, or bfloat16 rounded to nearest, ties to even.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/comm.hpp"
#include "replay/options.hpp"

namespace moesaic::replay {

/// One row of the experts' work: which expert, on which GPU of the receiving node, with what weight.
struct Row {
  std::uint16_t expert = 0;
  std::uint16_t local = 0;  ///< GPU by its index in its node
  float gate = 0;
};

/// The copies one GPU sends to another in one stage: each a hidden state and the rows it is for.
struct Copies {
  std::vector<std::uint32_t> rows_of;  ///< [copies] how many of `rows` are each copy's
  std::vector<Row> rows;
  std::vector<float> vectors;  ///< [copies, hidden]

  std::size_t count() const { return rows_of.size(); }
};

/// A message: rows_of and rows (control), then the vectors (payload).
comm::Bytes encode(const Copies& copies, Wire wire);
/// What came, and how many of its bytes were payload. REQUIRES: written by encode() of the same options.
struct Received {
  Copies copies;
  std::size_t payload_bytes = 0, control_bytes = 0;
};
Received decode(std::span<const std::byte> message, const Options& options);

/// Vectors alone, as results come back.
comm::Bytes encode_vectors(std::span<const float> vectors, Wire wire);
std::vector<float> decode_vectors(std::span<const std::byte> bytes, Wire wire);

}  // namespace moesaic::replay
