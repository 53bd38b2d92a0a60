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

Status parse_documents(std::span<ReadDocument> batch, Documents& documents, const ParseDocument& parse,
                       const ImportOptions& options) {
  const auto one = [&](std::size_t i) -> Status {
    if (batch[i].is_parsed) return {};
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
    batch[i].is_parsed = true;
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

/// One import. Collective throughout. Ranks wait for the slowest in every round: rounds are large, and who
/// waits parses documents of its next round meanwhile.
class TokenImport {
 public:
  TokenImport(ImportContext& context, const ParseDocument& parse)
      : context_(context),
        parse_(parse),
        output_(context.output),
        comm_(*context.options.comm),
        batches_(context) {}

  Status run() {
    Result<DocumentBatches::Round> round = batches_.next(comm_, batches_a_rank());
    while (true) {
      std::size_t added = 0;
      const Status parsed = round ? parse_and_add(round->mine, added) : Status(tl::unexpected(round.error()));
      Result<DocumentBatches::Round> ahead = DocumentBatches::Round();
      if (comm_.size() > 1) {
        if (round) ahead = batches_.next(comm_, batches_a_rank());
        MOESAIC_TRY(parse_until_all_are_here(ahead));
      }
      MOESAIC_TRY(comm::agree(comm_, parsed));
      if (round->documents == 0) break;
      MOESAIC_TRY(learn_and_add(std::span(round->mine).subspan(added)));
      progress_.bytes += round->bytes_of_rest;
      MOESAIC_TRY(output_.share());
      batches_so_far_ += round->batches;
      report(round->documents);
      round = comm_.size() > 1 ? std::move(ahead) : batches_.next(comm_, 1);
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
  /// by what those that are shared held. The same on every rank.
  std::size_t batches_a_rank() const {
    if (!map_.settled()) return 1;
    const ModelShape& shape = map_.shape();
    const std::uint64_t bytes =
        output_.tokens() * shape.layers.size() * shape.top_k * sizeof(ExpertId) / batches_so_far_;
    return std::clamp<std::size_t>(kBytesOfIds / std::max<std::uint64_t>(1, bytes), 1, kMostBatches);
  }

  Status parse(std::span<ReadDocument> documents) {
    return parse_documents(documents, context_.documents, parse_, context_.options);
  }

  /// Tells the others that this rank has parsed its share of the round, and parses documents of the next
  /// until all have. One that fails is left for its own round, which will say so.
  Status parse_until_all_are_here(Result<DocumentBatches::Round>& ahead) {
    for (std::size_t rank = 0; rank < comm_.size(); ++rank) {
      if (rank != comm_.rank()) MOESAIC_TRY(comm_.post(rank, {}));
    }
    std::vector<std::span<ReadDocument>> left;
    const std::size_t at_once = context_.options.pool != nullptr ? context_.options.pool->threads() : 1;
    for (Batch& batch : ahead ? std::span(ahead->mine) : std::span<Batch>()) {
      for (std::size_t i = 0; i < batch.documents.size(); i += at_once) {
        left.push_back(std::span(batch.documents).subspan(i, std::min(at_once, batch.documents.size() - i)));
      }
    }
    std::size_t next = 0;
    for (std::size_t here = 1; here < comm_.size();) {
      MOESAIC_ASSIGN(const auto posted, comm_.take_posted(next == left.size()));
      if (posted) {
        ++here;
      } else if (!parse(left[next++])) {
        next = left.size();
      }
    }
    return {};
  }

  /// Parses all batches and adds those before the first that has something to learn from: `added` of them.
  Status parse_and_add(std::span<Batch> batches, std::size_t& added) {
    bool known = true;
    for (Batch& batch : batches) {
      if (first_path_.empty() && !batch.documents.empty()) first_path_ = batch.documents[0].document.path;
      MOESAIC_TRY(parse(batch.documents));
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
