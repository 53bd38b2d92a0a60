// The tokens of one piece, all layers, as they were added; encodes them layer by layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "io/zarr_metadata.hpp"
#include "io/zarr_piece.hpp"
#include "trace/trace.hpp"

namespace moesaic {
class ThreadPool;
}

namespace moesaic::trace {

class PieceBuffer {
 public:
  /// `type`: of the stored ids, uint8 or uint16.
  PieceBuffer(std::size_t layers, std::size_t top_k, std::size_t piece_tokens, io::ZarrType type,
              IdOrder order, bool weights);

  /// Another type for what is encoded from now on.
  void store_as(io::ZarrType type) { type_ = type; }
  std::size_t tokens() const { return tokens_; }
  bool full() const { return tokens_ == piece_tokens_; }

  /// Takes leading tokens of experts (and weights) [tokens, L, k] until it is full; returns how many. L may
  /// be 0: then it counts.
  std::size_t fill(std::size_t tokens, std::span<const ExpertId> experts, std::span<const float> weights);

  /// Encodes what is there, padded to a whole piece, and empties the buffer. One entry a layer each;
  /// `weights` stays empty without weights. Ids of a token are sorted with IdOrder::kSet, missing ones
  /// last, and its weights with them.
  struct Encoded {
    std::vector<io::EncodedPiece> experts, weights;
  };
  Encoded encode(ThreadPool* pool);

 private:
  void encode_layer(std::size_t layer, Encoded& out) const;

  std::size_t layers_, top_k_, piece_tokens_;
  io::ZarrType type_;
  IdOrder order_;
  bool has_weights_;
  std::size_t tokens_ = 0;
  std::vector<ExpertId> experts_;
  std::vector<float> weights_;
};

}  // namespace moesaic::trace
