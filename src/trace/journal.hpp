// The journal of an import, "<path>.partial/journal.jsonl": one JSON line that says what is imported and
// one for each shard on disk. Each line is synced before the next shard is begun, so that whatever
// interrupts an import, the lines that are whole name shards that are whole.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"
#include "io/files.hpp"
#include "io/zarr_piece.hpp"
#include "trace/writer.hpp"

namespace moesaic::trace {

/// What one add_request() or add_anonymous() brought, without the tokens themselves.
struct JournalRecord {
  std::optional<RequestRecord> request;  ///< none: anonymous
  std::uint64_t tokens = 0;
};

struct JournalShard {
  std::uint64_t expert_bytes = 0, weight_bytes = 0;  ///< of the files; 0: no weights
  io::Hash128 expert_hash, weight_hash;              ///< shard_hash of each
  std::uint32_t max_id = 0;                          ///< largest id of all shards so far
  std::vector<JournalRecord> records;                ///< that end in this shard
};

/// The first line. Two imports whose lines are equal write the same bytes from the same sources.
Json journal_head(const ModelShape& shape, const WriterOptions& options);

class Journal {
 public:
  static std::string path(const std::string& partial);

  /// Begins a journal in the folder `partial`, synced.
  static Result<Journal> create(io::FileSystem& files, const std::string& partial, const Json& head);

  struct Found {
    Json head;                         ///< null: no whole first line
    std::vector<JournalShard> shards;  ///< up to the first line that is not whole, or not ours
    std::vector<std::uint64_t> ends;   ///< byte after the head and after each shard's line
  };
  /// Reads what is there. A half-written line and all after it do not count.
  static Result<Found> read(io::FileSystem& files, const std::string& partial);

  /// Goes on after `keep` bytes.
  static Result<Journal> resume(io::FileSystem& files, const std::string& partial, std::uint64_t keep);

  /// Appends and syncs the line of the next shard.
  Status append(const JournalShard& shard);

 private:
  explicit Journal(std::unique_ptr<io::WriteFile> file) : file_(std::move(file)) {}
  Status append_line(const Json& line);

  std::unique_ptr<io::WriteFile> file_;
};

}  // namespace moesaic::trace
