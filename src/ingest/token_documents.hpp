// The loop of every format that holds whole requests in documents: read in bounded batches, parse in
// parallel, add in order. The result does not depend on the number of threads.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "ingest/importer.hpp"
#include "trace/writer.hpp"

namespace moesaic::ingest {

struct ParsedRequest {
  trace::RequestRecord record;
  std::vector<ExpertId> experts;  ///< [prefill + decode, planes, k]
};

/// What one document holds. Its planes are the rows of the L axis as the source has them.
struct ParsedDocument {
  std::vector<LayerId> planes;  ///< layer of each plane; 0, 1, ... when !layers_known
  bool layers_known = true;
  std::vector<bool> all_zero;    ///< planes that hold only id 0, where that may mean "dense"; or empty
  std::size_t model_layers = 0;  ///< all layers of the model if the source says so, else 0
  std::size_t top_k = 0;         ///< 0 = the document holds no experts (its requests are empty)
  std::vector<ParsedRequest> requests;
  std::vector<trace::Anomaly> anomalies;
};

/// Called on many threads at once; document.bytes are loaded and padded.
using ParseDocument =
    std::function<Result<ParsedDocument>(const Document& document, const ImportOptions& options)>;

/// Imports all documents of `context`. Planes that are all zero in every document of the first batch
/// are dense layers and left out; one that is not zero later is bad input.
Status import_token_documents(ImportContext& context, const ParseDocument& parse);

}  // namespace moesaic::ingest
