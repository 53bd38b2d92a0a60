// How the ranks that write one store share its layers: row l of a token is encoded by rank l mod n. Each
// piece is one layer's, so that a rank needs no other rank's columns to encode its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "comm/comm.hpp"
#include "core/result.hpp"
#include "io/zarr_piece.hpp"

namespace moesaic::trace {

class LayerShares {
 public:
  /// `comm` outlives this.
  LayerShares(comm::Comm& comm, std::size_t layers, std::size_t top_k)
      : comm_(&comm), layers_(layers), top_k_(top_k) {}

  /// Layer rows of a rank; 0 where there are more ranks than layers.
  std::size_t rows_of(std::size_t rank) const;

  /// Appends values [tokens, L, k] to out[r] as [tokens, rows_of(r), k].
  template <class T>
  void split(std::span<const T> values, std::vector<comm::Bytes>& out) const;

  /// Collective: pieces [n, own rows] of every rank as [n, L] at `owner`, nothing elsewhere.
  Result<std::vector<io::EncodedPiece>> gather(std::vector<io::EncodedPiece> mine, std::size_t owner) const;

 private:
  comm::Comm* comm_;
  std::size_t layers_, top_k_;
};

template <class T>
void LayerShares::split(std::span<const T> values, std::vector<comm::Bytes>& out) const {
  const std::size_t tokens = values.size() / (layers_ * top_k_);
  const auto copy_runs = [&](std::size_t rank, std::byte* to, auto run) {
    for (std::size_t token = 0; token < tokens; ++token) {
      for (std::size_t row = rank; row < layers_; row += out.size(), to += run) {
        std::memcpy(to, &values[(token * layers_ + row) * top_k_], run);
      }
    }
  };
  for (std::size_t rank = 0; rank < out.size(); ++rank) {
    const std::size_t at = out[rank].size();
    out[rank].resize(at + tokens * rows_of(rank) * top_k_ * sizeof(T));
    // A single id is too short for a call.
    if (top_k_ == 1) {
      copy_runs(rank, out[rank].data() + at, std::integral_constant<std::size_t, sizeof(T)>());
    } else {
      copy_runs(rank, out[rank].data() + at, top_k_ * sizeof(T));
    }
  }
}

}  // namespace moesaic::trace
