#include "trace/layer_shares.hpp"

#include <string>
#include <utility>

#include "comm/parcel.hpp"

namespace moesaic::trace {

std::size_t LayerShares::rows_of(std::size_t rank) const {
  return rank < layers_ ? (layers_ - rank - 1) / comm_->size() + 1 : 0;
}

Result<std::vector<io::EncodedPiece>> LayerShares::gather(std::vector<io::EncodedPiece> mine,
                                                          std::size_t owner) const {
  if (comm_->size() == 1) return mine;
  comm::Packer parcel;
  parcel.put(std::uint64_t{mine.size()});
  for (const io::EncodedPiece& piece : mine) {
    parcel.put(piece.hash);
    parcel.put_text(piece.bytes);
  }
  mine.clear();
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> all, comm::gather(*comm_, parcel.take(), owner));
  std::vector<io::EncodedPiece> out;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    comm::Unpacker theirs(all[rank]);
    const std::size_t pieces = theirs.get<std::uint64_t>(), rows = rows_of(rank);
    if (rank == 0) out.resize(pieces / rows * layers_);  // rank 0 has a row of every store
    for (std::size_t i = 0; i < pieces; ++i) {
      io::EncodedPiece& piece = out[i / rows * layers_ + rank + i % rows * comm_->size()];
      theirs.get(piece.hash);
      piece.bytes = theirs.get_text();
    }
  }
  return out;
}

}  // namespace moesaic::trace
