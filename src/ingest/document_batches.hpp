// The documents of an import in bounded batches, dealt to the ranks that parse them: in each round every rank
// has a run of batches, those of rank r before those of rank r + 1.
#pragma once

#include <cstddef>
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
  bool is_parsed = false;
};

struct Batch {
  std::vector<ReadDocument> documents;
  Anomalies left_out;  ///< what was passed over on the way to its end
};

class DocumentBatches {
 public:
  /// All outlive this. Every rank walks all documents, so that what a batch holds depends neither on the
  /// number of ranks nor on that of threads: the planes that count as dense are those of the first batch.
  explicit DocumentBatches(ImportContext& context) : context_(context) {}

  struct Round {
    std::vector<Batch> mine;          ///< this rank's batches; none: there are fewer than ranks
    std::size_t batches = 0;          ///< of all ranks
    std::uint64_t documents = 0;      ///< of all ranks; 0: the end
    std::uint64_t bytes_of_rest = 0;  ///< of other ranks' documents, as Document::size says
  };
  /// The next batches, at most `each` a rank, dealt so that ranks have as many bytes as batches allow. A
  /// document larger than a batch comes alone. Archives are unpacked by all ranks: then each has one batch,
  /// and documents of others are let go of as they are met.
  Result<Round> next(comm::Comm& comm, std::size_t each);

 private:
  struct Sized {
    Batch batch;
    std::uint64_t bytes = 0, documents = 0;
  };
  Result<Sized> take(bool keep);

  ImportContext& context_;
  std::optional<Document> pending_;
};

}  // namespace moesaic::ingest
