// The documents of an import in bounded batches, dealt to the ranks that parse them: in each round rank r
// has the r-th batch.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "comm/comm.hpp"
#include "core/result.hpp"
#include "ingest/documents.hpp"
#include "ingest/importer.hpp"
#include "ingest/token_documents.hpp"

namespace moesaic::ingest {

struct ReadDocument {
  Document document;
  ParsedDocument parsed;
};

class DocumentBatches {
 public:
  /// All outlive this. Every rank walks all documents, so that what a batch holds depends neither on the
  /// number of ranks nor on that of threads: the planes that count as dense are those of the first batch.
  explicit DocumentBatches(ImportContext& context) : context_(context) {}

  struct Round {
    std::vector<ReadDocument> mine;   ///< this rank's batch; empty: there are fewer batches than ranks
    std::uint64_t documents = 0;      ///< of all ranks; 0: the end
    std::uint64_t bytes_of_rest = 0;  ///< of other ranks' documents, as Document::size says
  };
  /// The next batch of each rank. A document larger than a batch comes alone. What is left out of a batch is
  /// reported by the rank that has it; documents of others are let go of as they are met.
  Result<Round> next(comm::Comm& comm);

 private:
  Result<std::vector<ReadDocument>> batch(bool keep, Round& round);

  ImportContext& context_;
  std::optional<Document> pending_;
};

}  // namespace moesaic::ingest
