#include "ingest/token_documents.hpp"

#include <fmt/format.h>

#include <utility>

#include "comm/comm.hpp"
#include "core/thread_pool.hpp"
#include "ingest/document_batches.hpp"
#include "ingest/plane_map.hpp"

namespace moesaic::ingest {
namespace {

constexpr std::size_t kKeptBuffer = 4u << 20;

Status parse_batch(std::vector<ReadDocument>& batch, Documents& documents, const ParseDocument& parse,
                   const ImportOptions& options) {
  const auto one = [&](std::size_t i) -> Status {
    Document& document = batch[i].document;
    // Small documents share one buffer a thread: fresh memory for each costs more than parsing it.
    thread_local std::string buffer;
    if (!document.loaded) document.bytes = std::move(buffer);
    MOESAIC_TRY(documents.load(document));
    document.size = document.bytes.size();
    MOESAIC_ASSIGN(batch[i].parsed, parse(document, options));
    document.loaded = false;
    buffer = std::move(document.bytes);
    document.bytes = std::string();
    if (buffer.capacity() > kKeptBuffer) buffer = std::string();
    return {};
  };
  if (options.pool != nullptr) return options.pool->try_parallel_for(batch.size(), one);
  for (std::size_t i = 0; i < batch.size(); ++i) MOESAIC_TRY(one(i));
  return {};
}

Status add_document(ReadDocument& item, const PlaneMap& map, Output& output, std::vector<ExpertId>& scratch) {
  for (const trace::Anomaly& anomaly : item.parsed.anomalies) {
    output.anomalies().add(anomaly.kind, anomaly.what, anomaly.count);
  }
  if (item.parsed.empty()) return {};
  MOESAIC_TRY(map.check(item));
  for (ParsedRequest& request : item.parsed.requests) {
    MOESAIC_TRY(output.add_request(item.document.path, std::move(request.record),
                                   map.rows(request.experts, scratch)));
  }
  return {};
}

}  // namespace

Status import_token_documents(ImportContext& context, const ParseDocument& parse) {
  comm::Comm& comm = *context.options.comm;
  DocumentBatches batches(context);
  PlaneMap map;
  Progress progress;
  std::string first_path;
  std::vector<ExpertId> scratch;
  while (true) {
    // Each wait for the others costs as much as the slowest of them: few a round.
    Result<DocumentBatches::Round> round = batches.next(comm);
    const Status parsed = round ? parse_batch(round->mine, context.documents, parse, context.options)
                                : Status(tl::unexpected(round.error()));
    MOESAIC_TRY(comm::agree(comm, parsed));
    if (round->documents == 0) break;
    std::vector<ReadDocument>& batch = round->mine;
    if (first_path.empty() && !batch.empty()) first_path = batch.front().document.path;
    std::int64_t unknown = map.knows(batch) ? 0 : 1;
    MOESAIC_TRY(comm.all_sum({&unknown, 1}));
    if (unknown > 0) {
      const bool was_settled = map.settled();
      MOESAIC_TRY(map.learn(batch, context.output, comm));
      if (map.settled() && !was_settled) MOESAIC_TRY(context.output.open_tokens(map.shape()));
    }
    Status added = map.divide(batch);
    progress.bytes += round->bytes_of_rest;
    for (ReadDocument& item : batch) {
      if (added) added = add_document(item, map, context.output, scratch);
      progress.bytes += item.document.size;
    }
    MOESAIC_TRY(comm::agree(comm, added));
    MOESAIC_TRY(context.output.share());
    progress.documents += round->documents;
    progress.tokens = context.output.tokens();
    if (context.options.progress) context.options.progress(progress);
  }
  if (!context.output.is_open()) {
    return bad_input(
        fmt::format("{}: no token with experts in it, nor in a file after it; there is nothing to import",
                    first_path.empty() ? "the sources" : first_path));
  }
  return context.output.finish_tokens();
}

}  // namespace moesaic::ingest
