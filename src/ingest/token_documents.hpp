// The loop of every format that holds whole requests in documents: read in bounded batches, parse in
// parallel, add in order. The result depends neither on the number of threads nor on that of ranks, which
// parse a batch each and bring its tokens to those that compress them (trace/writer.hpp).
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
  /// Planes that count as dense layers unless another document has experts there; empty = none. Where the
  /// source does not name dense layers these are the planes that hold only id 0.
  std::vector<bool> all_zero;
  std::size_t model_layers = 0;  ///< all layers of the model if the source says so, else 0
  std::size_t top_k = 0;         ///< 0 = not known (see width), or the document holds no experts
  /// Ids a token over all layers of the model, where the source does not say how they divide into planes;
  /// then planes, all_zero and top_k are found for all documents together.
  std::size_t width = 0;
  std::vector<ParsedRequest> requests;
  std::vector<trace::Anomaly> anomalies;

  bool empty() const { return top_k == 0 && width == 0; }
};

/// Called on many threads at once; document.bytes are loaded and padded.
using ParseDocument =
    std::function<Result<ParsedDocument>(const Document& document, const ImportOptions& options)>;

/// Imports all documents of `context`. Planes that are all zero in every document of the first batch
/// are dense layers and left out; one that is not zero later is bad input. Collective.
Status import_token_documents(ImportContext& context, const ParseDocument& parse);

}  // namespace moesaic::ingest
