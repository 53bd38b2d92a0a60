#include "ingest/document_batches.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace moesaic::ingest {
namespace {

/// The rank that the middle of each batch falls to when bytes are divided evenly: ascending.
std::vector<std::size_t> deal(std::span<const std::uint64_t> bytes, std::size_t ranks) {
  std::uint64_t total = 0;
  for (const std::uint64_t size : bytes) total += size;
  std::vector<std::size_t> owners;
  std::uint64_t before = 0;
  for (const std::uint64_t size : bytes) {
    const double middle = static_cast<double>(before) + static_cast<double>(size) / 2;
    const auto share = static_cast<std::size_t>(static_cast<double>(ranks) * middle /
                                                static_cast<double>(std::max<std::uint64_t>(1, total)));
    owners.push_back(std::min(share, ranks - 1));
    before += size;
  }
  return owners;
}

}  // namespace

Result<DocumentBatches::Round> DocumentBatches::next(comm::Comm& comm, std::size_t each) {
  Round round;
  const bool held = context_.documents.has_archives();
  const std::size_t most = comm.size() * (held ? 1 : each);
  std::vector<Sized> batches;
  std::vector<std::uint64_t> bytes;
  while (batches.size() < most) {
    MOESAIC_ASSIGN(Sized next, take(!held || batches.size() == comm.rank()));
    if (next.documents == 0) {
      // Nothing more but what was passed over: it goes with the last batch, or alone.
      if (next.batch.left_out.list().empty()) break;
      batches.push_back(std::move(next));
      bytes.push_back(0);
      break;
    }
    round.documents += next.documents;
    bytes.push_back(next.bytes);
    batches.push_back(std::move(next));
  }
  round.batches = batches.size();
  const std::vector<std::size_t> owners = deal(bytes, comm.size());
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if ((held ? i : owners[i]) == comm.rank()) {
      round.mine.push_back(std::move(batches[i].batch));
    } else {
      round.bytes_of_rest += batches[i].bytes;
    }
  }
  return round;
}

Result<DocumentBatches::Sized> DocumentBatches::take(bool keep) {
  const BatchLimits& limits = context_.options.batch;
  Sized out;
  Anomalies reported = std::exchange(context_.output.anomalies(), {});
  while (out.documents < limits.documents) {
    if (!pending_) {
      MOESAIC_ASSIGN(pending_, context_.documents.next());
      if (!pending_) break;
    }
    if (out.documents > 0 && out.bytes + pending_->size > limits.bytes) break;
    out.bytes += pending_->size;
    ++out.documents;
    if (keep) out.batch.documents.push_back({.document = std::move(*pending_), .parsed = {}});
    pending_.reset();
  }
  out.batch.left_out = std::exchange(context_.output.anomalies(), std::move(reported));
  return out;
}

}  // namespace moesaic::ingest
