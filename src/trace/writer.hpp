// Writing a trace store. Everything goes to "<path>.partial/" with a journal line a shard; finish()
// renames it to <path>: the store is there whole or not at all, and an interrupted import resumes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/comm.hpp"
#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "io/files.hpp"
#include "trace/trace.hpp"

namespace moesaic {
class ThreadPool;
}

namespace moesaic::trace {

/// How tokens are cut. The defaults are the format's; tests use small ones. A piece is compressed as one.
struct StoreLayout {
  std::uint64_t shard_tokens = 262'144;  ///< a file, all layers; a multiple of piece_tokens
  std::uint64_t piece_tokens = 16'384;   ///< of one layer
  bool operator==(const StoreLayout&) const = default;
};

struct WriterOptions {
  bool force = false;  ///< replace an existing store (only at finish())
  IdOrder order = IdOrder::kSet;
  bool weights = false;  ///< tokens come with router weights
  /// Names the sources and the options that shape the result. A "<path>.partial/" of the same
  /// fingerprint is resumed; one of another is an error unless `force` (then it is removed).
  std::string fingerprint{};
  ThreadPool* pool = nullptr;            ///< compresses shards in parallel; nullptr = on the caller
  comm::Comm* comm = &comm::one_rank();  ///< the ranks that write one store together
  StoreLayout layout{};
};

/// One request as it is added. Ids must be unique; the writer makes a repeated one unique by appending
/// "#2", "#3", ... and counts that as an anomaly.
struct RequestRecord {
  std::string id;
  std::string domain;  ///< "" = no label
  std::uint32_t prefill_tokens = 0;
  std::uint32_t decode_tokens = 0;
  std::int64_t arrival_ns = -1;  ///< -1 = unknown; known for all requests or for none
};

/// Streams tokens into a store: pieces are compressed as they fill, a shard is written, synced and noted in
/// the journal when it is full. Memory: one piece of all layers and one compressed shard, beside the request
/// table. The bytes depend neither on the pool nor on interruptions. Not thread-safe. After an error every
/// later call fails; what the journal holds is kept for the next run.
///
/// Several ranks (options.comm): each adds its own stretch of records, then all call share(): lengths are
/// exchanged first, and every rank's records come to lie after those of the ranks before it. Layers are
/// divided over the ranks, which compress them; shard s is written by rank s mod n; the root keeps requests
/// and journal, and renames. open(), share() and finish() are collective and fail on all ranks alike; bytes
/// do not depend on the number of ranks, nor must the run that takes up another have as many.
/// Memory of a rank beside the request table (root): what was added since the last share(), twice.
class TokenWriter {
 public:
  /// Errors: the store exists (without force), a partial store of another fingerprint, shape or options.
  /// `shape.experts` may be limits::kMaxExperts while unknown (stored as uint16); finish() then gives it.
  static Result<TokenWriter> open(io::FileSystem& files, const std::string& path, const ModelShape& shape,
                                  const WriterOptions& options);
  TokenWriter(TokenWriter&&) noexcept;
  TokenWriter& operator=(TokenWriter&&) noexcept;
  ~TokenWriter();

  /// How many add_*() calls of an interrupted run are wholly on disk: a resumed import skips that many
  /// (their sources need not be read) and then goes on adding. Several ranks add all: 0.
  std::uint64_t records_to_skip() const;

  /// Tokens added so far, those to skip among them; by all ranks, as of the last share().
  std::uint64_t tokens() const;
  /// The requests added so far, those to skip among them. At the root; elsewhere empty.
  const RequestTable& requests() const;

  /// Adds one request with its experts [prefill + decode, L, k] (kMissingExpert where missing) and, when
  /// options.weights, weights of the same shape. Ids >= shape.experts are an error.
  Status add_request(const RequestRecord& request, std::span<const ExpertId> experts,
                     std::span<const float> weights = {});
  /// Adds `tokens` tokens without a request.
  Status add_anonymous(std::uint64_t tokens, std::span<const ExpertId> experts,
                       std::span<const float> weights = {});
  /// Collective: brings what every rank has added to its place. Nothing on one rank.
  Status share();
  /// Writes what is left, metadata and the request table, and renames. `experts`: the final E. Collective.
  Status finish(std::size_t experts, const Provenance& provenance);

 private:
  struct Impl;
  explicit TokenWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A counts store, written in one go (counts are small).
struct CountStore {
  ModelShape shape;
  CountUnit unit = CountUnit::kTokens;
  RequestTable requests;  ///< ids and domains; spans 0
  std::vector<CountRow> rows;
  std::vector<double> counts;  ///< [rows, L, E]; kTokens: whole numbers
  Provenance provenance;
};
Status write_count_store(io::FileSystem& files, const std::string& path, const CountStore& store,
                         const WriterOptions& options);

}  // namespace moesaic::trace
