#include "ingest/token_documents.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "comm/comm.hpp"
#include "core/thread_pool.hpp"
#include "ingest/document_batches.hpp"
#include "ingest/plane_map.hpp"

namespace moesaic::ingest {
namespace {

constexpr std::size_t kKeptBuffer = 4u << 20;
/// Of a rank in a round: memory, and how often ranks wait for each other.
constexpr std::uint64_t kBytesOfIds = 16u << 20;
constexpr std::size_t kMostBatches = 32;

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

/// One import. Collective throughout: each wait for the others costs as much as the slowest of them, so that
/// a round is large and has few of them.
class TokenImport {
 public:
  TokenImport(ImportContext& context, const ParseDocument& parse)
      : context_(context),
        parse_(parse),
        output_(context.output),
        comm_(*context.options.comm),
        batches_(context) {}

  Status run() {
    while (true) {
      Result<DocumentBatches::Round> round = batches_.next(comm_, batches_a_rank());
      std::size_t added = 0;
      const Status parsed = round ? parse_and_add(round->mine, added) : Status(tl::unexpected(round.error()));
      MOESAIC_TRY(comm::agree(comm_, parsed));
      if (round->documents == 0) break;
      batches_so_far_ += round->batches;
      MOESAIC_TRY(learn_and_add(std::span(round->mine).subspan(added)));
      progress_.bytes += round->bytes_of_rest;
      MOESAIC_TRY(output_.share());
      report(round->documents);
    }
    if (!output_.is_open()) {
      return bad_input(
          fmt::format("{}: no token with experts in it, nor in a file after it; there is nothing to import",
                      first_path_.empty() ? "the sources" : first_path_));
    }
    return output_.finish_tokens();
  }

 private:
  /// One while planes are not settled, which a batch does; then as many as will hold about kBytesOfIds,
  /// by what those before them held. The same on every rank.
  std::size_t batches_a_rank() const {
    if (comm_.size() == 1 || !map_.settled()) return 1;
    const ModelShape& shape = map_.shape();
    const std::uint64_t bytes =
        output_.tokens() * shape.layers.size() * shape.top_k * sizeof(ExpertId) / batches_so_far_;
    return std::clamp<std::size_t>(kBytesOfIds / std::max<std::uint64_t>(1, bytes), 1, kMostBatches);
  }

  /// Parses all batches and adds those before the first that has something to learn from: `added` of them.
  Status parse_and_add(std::span<Batch> batches, std::size_t& added) {
    bool known = true;
    for (Batch& batch : batches) {
      if (first_path_.empty() && !batch.documents.empty()) first_path_ = batch.documents[0].document.path;
      MOESAIC_TRY(parse_batch(batch.documents, context_.documents, parse_, context_.options));
      known = known && map_.knows(batch.documents);
      if (!known) continue;
      MOESAIC_TRY(add(batch));
      ++added;
    }
    return {};
  }

  Status learn_and_add(std::span<Batch> batches) {
    std::int64_t unknown = batches.empty() ? 0 : 1;
    MOESAIC_TRY(comm_.all_sum({&unknown, 1}));
    if (unknown == 0) return {};
    // What was passed over before a batch is said before what that batch teaches.
    if (!batches.empty()) note(batches[0].left_out);
    const bool was_settled = map_.settled();
    MOESAIC_TRY(map_.learn(batches, output_, comm_));
    if (map_.settled() && !was_settled) MOESAIC_TRY(output_.open_tokens(map_.shape()));
    Status added;
    for (Batch& batch : batches) {
      if (added) added = add(batch);
    }
    return comm::agree(comm_, added);
  }

  Status add(Batch& batch) {
    note(batch.left_out);
    MOESAIC_TRY(map_.divide(batch.documents));
    for (ReadDocument& item : batch.documents) {
      MOESAIC_TRY(add_document(item, map_, output_, scratch_));
      progress_.bytes += item.document.size;
    }
    batch = {};  // its ids are in the output
    return {};
  }

  void note(Anomalies& anomalies) {
    const Anomalies noted = std::exchange(anomalies, {});
    for (const trace::Anomaly& one : noted.list()) output_.anomalies().add(one.kind, one.what, one.count);
  }

  void report(std::uint64_t documents) {
    progress_.documents += documents;
    progress_.tokens = output_.tokens();
    if (context_.options.progress) context_.options.progress(progress_);
  }

  ImportContext& context_;
  const ParseDocument& parse_;
  Output& output_;
  comm::Comm& comm_;
  DocumentBatches batches_;
  PlaneMap map_;
  Progress progress_;
  std::size_t batches_so_far_ = 0;  ///< of all ranks
  std::string first_path_;
  std::vector<ExpertId> scratch_;
};

}  // namespace

Status import_token_documents(ImportContext& context, const ParseDocument& parse) {
  return TokenImport(context, parse).run();
}

}  // namespace moesaic::ingest
