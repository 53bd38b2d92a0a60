#include "ingest/document_batches.hpp"

#include <utility>

namespace moesaic::ingest {

Result<DocumentBatches::Round> DocumentBatches::next(comm::Comm& comm) {
  Round round;
  for (std::size_t rank = 0; rank < comm.size(); ++rank) {
    const bool mine = rank == comm.rank();
    const std::uint64_t before = round.documents;
    Anomalies reported = mine ? Anomalies() : context_.output.anomalies();
    MOESAIC_ASSIGN(std::vector<ReadDocument> batch, this->batch(mine, round));
    if (mine) {
      round.mine = std::move(batch);
    } else {
      context_.output.anomalies() = std::move(reported);
    }
    if (round.documents == before) break;
  }
  return round;
}

Result<std::vector<ReadDocument>> DocumentBatches::batch(bool keep, Round& round) {
  const BatchLimits& limits = context_.options.batch;
  std::vector<ReadDocument> out;
  std::uint64_t documents = 0, bytes = 0;
  while (documents < limits.documents) {
    if (!pending_) {
      MOESAIC_ASSIGN(pending_, context_.documents.next());
      if (!pending_) break;
    }
    if (documents > 0 && bytes + pending_->size > limits.bytes) break;
    bytes += pending_->size;
    ++documents;
    if (keep) out.push_back({std::move(*pending_), {}});
    pending_.reset();
  }
  round.documents += documents;
  if (!keep) round.bytes_of_rest += bytes;
  return out;
}

}  // namespace moesaic::ingest
