#include "trace/shard_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/limits.hpp"
#include "io/zarr_array.hpp"
#include "trace/partial_store.hpp"
#include "trace/paths.hpp"
#include "trace/request_columns.hpp"
#include "trace/store_header.hpp"

namespace moesaic::trace {

ShardLog::ShardLog(io::FileSystem& files, const std::string& path, const WriterOptions& options,
                   Journal journal)
    : files_(&files),
      path_(path),
      partial_(partial_path(path)),
      options_(options),
      journal_(std::move(journal)) {}

Result<ShardLog> ShardLog::open(io::FileSystem& files, const std::string& path, const ModelShape& shape,
                                const WriterOptions& options) {
  MOESAIC_TRY(recover_store(files, path));
  MOESAIC_TRY(refuse_existing(files, path, options.force));
  MOESAIC_ASSIGN(PartialStore found, open_partial_store(files, partial_path(path), shape, options));
  ShardLog log(files, path, options, std::move(found.journal));
  log.restore(found.shards);
  return log;
}

void ShardLog::restore(const std::vector<JournalShard>& found) {
  for (const JournalShard& shard : found) {
    for (const JournalRecord& record : shard.records) {
      if (record.request) ledger_.add(*record.request, tokens_);
      tokens_ += record.tokens;
      ++records_on_disk_;
    }
    append_last(shard);
    max_id_ = shard.max_id;
  }
  tokens_on_disk_ = shards() * options_.layout.shard_tokens;
}

Result<std::uint64_t> ShardLog::add(JournalRecord record) {
  if (record.request) MOESAIC_TRY(ledger_.check(*record.request));
  if (record.tokens > limits::kMaxTokens - tokens_) {
    return bad_input(fmt::format("{}: more than {} tokens", path_, limits::kMaxTokens));
  }
  // The first record after a resume may have its head on disk already.
  const std::uint64_t on_disk = tokens_on_disk_ > tokens_ ? tokens_on_disk_ - tokens_ : 0;
  if (on_disk > record.tokens) {
    return bad_input(
        fmt::format("{}: the interrupted import had more than {} tokens of its record {}, this one has "
                    "{}; the source has changed, remove {} to start over",
                    partial_, on_disk, records_on_disk_, record.tokens, partial_));
  }
  if (record.request) ledger_.add(*record.request, tokens_);
  tokens_ += record.tokens;
  records_.push_back(std::move(record));
  record_ends_.push_back(tokens_);
  return on_disk;
}

Status ShardLog::append(JournalShard shard) {
  const std::uint64_t end = (shards() + 1) * options_.layout.shard_tokens;
  const auto whole = std::ranges::upper_bound(record_ends_, end) - record_ends_.begin();
  shard.records.assign(records_.begin(), records_.begin() + whole);
  MOESAIC_TRY(journal_.append(shard));
  records_.erase(records_.begin(), records_.begin() + whole);
  record_ends_.erase(record_ends_.begin(), record_ends_.begin() + whole);
  append_last(shard);
  return {};
}

void ShardLog::append_last(const JournalShard& shard) {
  expert_hashes_.push_back(shard.expert_hash);
  weight_hashes_.push_back(shard.weight_hash);
}

Status ShardLog::finish(const ModelShape& shape, io::ZarrType type, const Provenance& provenance) {
  if (tokens_ < tokens_on_disk_) {
    return bad_input(
        fmt::format("{}: the interrupted import had {} tokens, this one ends after {}; the source has "
                    "changed, remove {} to start over",
                    partial_, tokens_on_disk_, tokens_, partial_));
  }
  std::map<std::string, ArrayContent> arrays;
  const auto close_array = [&](const char* array, io::ZarrType stored,
                               std::span<const io::Hash128> hashes) -> Status {
    const io::ZarrArray metadata = token_array(stored, tokens_, shape, options_.layout);
    arrays[array] = {.shape = metadata.shape, .hash = io::hex(io::hash128(std::as_bytes(hashes)))};
    const std::string folder = io::join_path(partial_, array);
    MOESAIC_TRY(io::write_array_metadata(*files_, folder, metadata));
    return files_->sync_directory(folder);
  };
  MOESAIC_TRY(close_array("experts", type, expert_hashes_));
  if (options_.weights) MOESAIC_TRY(close_array("weights", io::ZarrType::kFloat32, weight_hashes_));
  MOESAIC_TRY(validate(ledger_.table(), tokens_, path_));
  MOESAIC_TRY(write_requests(*files_, partial_, ledger_.table(), arrays));
  StoreHeader header{.kind = Kind::kTokens,
                     .shape = shape,
                     .order = options_.order,
                     .weights = options_.weights,
                     .unit = CountUnit::kTokens,
                     .provenance = provenance,
                     .digest = {}};
  ledger_.add_anomalies(header.provenance.anomalies);
  return commit_partial_store(*files_, path_, std::move(header), arrays, options_.force);
}

io::ZarrArray token_array(io::ZarrType type, std::uint64_t tokens, const ModelShape& shape,
                          const StoreLayout& layout) {
  const std::uint64_t layers = shape.layers.size(), top_k = shape.top_k;
  return {.type = type,
          .shape = {tokens, layers, top_k},
          .chunk = {layout.shard_tokens, layers, top_k},
          .inner = {layout.piece_tokens, 1, top_k},
          .attributes = {}};
}

}  // namespace moesaic::trace
