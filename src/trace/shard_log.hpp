// What the root keeps of a token store while it comes into being: its requests, which shards are on disk
// and the journal that says so. The tokens themselves pass elsewhere (trace/writer.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "io/files.hpp"
#include "io/zarr_metadata.hpp"
#include "trace/journal.hpp"
#include "trace/request_ledger.hpp"
#include "trace/writer.hpp"

namespace moesaic::trace {

/// Not thread-safe.
class ShardLog {
 public:
  /// Begins "<path>.partial" or takes it up again. Errors: as TokenWriter::open.
  static Result<ShardLog> open(io::FileSystem& files, const std::string& path, const ModelShape& shape,
                               const WriterOptions& options);

  std::uint64_t shards() const { return expert_hashes_.size(); }
  std::uint64_t tokens() const { return tokens_; }  ///< added, those of whole records on disk among them
  const RequestTable& requests() const { return ledger_.table(); }
  /// What an interrupted run left: whole records, and tokens of all shards (the next record's head, too).
  std::uint64_t records_on_disk() const { return records_on_disk_; }
  std::uint64_t tokens_on_disk() const { return tokens_on_disk_; }
  std::uint32_t max_id() const { return max_id_; }

  /// Adds the next record. Returns how many of its leading tokens are on disk already. Errors (bad input):
  /// what RequestLedger::check refuses, too many tokens, a record shorter than what is on disk of it.
  Result<std::uint64_t> add(JournalRecord record);

  /// The next shard is on disk, full. Notes it in the journal with the records that end in it.
  Status append(JournalShard shard);
  /// So is the last one, which may be short.
  void append_last(const JournalShard& shard);

  /// Writes metadata and the request table, removes the journal and renames. `shape`: the final one.
  Status finish(const ModelShape& shape, io::ZarrType type, const Provenance& provenance);

 private:
  ShardLog(io::FileSystem& files, const std::string& path, const WriterOptions& options, Journal journal);
  void restore(const std::vector<JournalShard>& found);

  io::FileSystem* files_;
  std::string path_, partial_;
  WriterOptions options_;
  Journal journal_;
  RequestLedger ledger_;
  std::vector<JournalRecord> records_;      ///< added, in no journal line yet
  std::vector<std::uint64_t> record_ends_;  ///< token after each of them
  std::vector<io::Hash128> expert_hashes_, weight_hashes_;
  std::uint64_t tokens_ = 0;
  std::uint64_t records_on_disk_ = 0, tokens_on_disk_ = 0;
  std::uint32_t max_id_ = 0;
};

/// Metadata of the array of experts (or weights) of a store of that layout.
io::ZarrArray token_array(io::ZarrType type, std::uint64_t tokens, const ModelShape& shape,
                          const StoreLayout& layout);

}  // namespace moesaic::trace
