#include "trace/partial_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "io/json.hpp"
#include "io/zarr_metadata.hpp"
#include "trace/paths.hpp"
#include "trace/request_columns.hpp"

namespace moesaic::trace {
namespace {

constexpr std::array<std::string_view, 7> kOurNames{"counts", "experts", "journal.jsonl", "request",
                                                    "row",    "weights", "zarr.json"};

std::string shard_path(const std::string& partial, const char* array, std::size_t shard) {
  return io::join_path(io::join_path(partial, array), io::chunk_key({shard, 0, 0}));
}

/// How many leading shards of the journal have files of the noted sizes.
Result<std::size_t> whole_shards(io::FileSystem& files, const std::string& partial,
                                 const std::vector<JournalShard>& shards, bool weights) {
  for (std::size_t i = 0; i < shards.size(); ++i) {
    MOESAIC_ASSIGN(const io::FileStatus experts, files.status(shard_path(partial, "experts", i)));
    if (!experts.exists || experts.size != shards[i].expert_bytes) return i;
    if (!weights) continue;
    MOESAIC_ASSIGN(const io::FileStatus values, files.status(shard_path(partial, "weights", i)));
    if (!values.exists || values.size != shards[i].weight_bytes) return i;
  }
  return shards.size();
}

/// Removes all but the journal and the first `shards` shards: a store holds nothing of a broken run.
Status remove_the_rest(io::FileSystem& files, const std::string& partial, std::size_t shards) {
  MOESAIC_ASSIGN(const std::vector<std::string> names, files.list(partial));
  for (const std::string& name : names) {
    const std::string path = io::join_path(partial, name);
    if (name == "journal.jsonl") continue;
    if (name != "experts" && name != "weights") {
      MOESAIC_TRY(files.remove_all(path));
      continue;
    }
    std::vector<std::string> keep;
    for (std::size_t i = 0; i < shards; ++i) keep.push_back(io::chunk_key({i, 0, 0}));
    std::ranges::sort(keep);
    MOESAIC_ASSIGN(const std::vector<std::string> chunks, files.list(path));
    for (const std::string& chunk : chunks) {
      if (!std::ranges::binary_search(keep, chunk)) MOESAIC_TRY(files.remove_all(io::join_path(path, chunk)));
    }
  }
  return {};
}

Result<PartialStore> begin(io::FileSystem& files, const std::string& partial, const Json& head,
                           bool weights) {
  MOESAIC_TRY(renew_partial_folder(files, partial));
  MOESAIC_TRY(files.make_directories(io::join_path(partial, "experts")));
  if (weights) MOESAIC_TRY(files.make_directories(io::join_path(partial, "weights")));
  MOESAIC_TRY(files.sync_directory(io::parent_path(partial)));
  MOESAIC_ASSIGN(Journal journal, Journal::create(files, partial, head));
  return PartialStore{.journal = std::move(journal), .shards = {}};
}

}  // namespace

Status renew_partial_folder(io::FileSystem& files, const std::string& partial) {
  MOESAIC_ASSIGN(const io::FileStatus there, files.status(partial));
  if (there.exists) {
    if (!there.is_directory)
      return bad_input(fmt::format("{}: is a file, expected nothing there; move it away", partial));
    MOESAIC_ASSIGN(const std::vector<std::string> names, files.list(partial));
    for (const std::string& name : names) {
      if (std::ranges::find(kOurNames, name) == kOurNames.end()) {
        return bad_input(
            fmt::format("{}: holds \"{}\", which no import wrote; move the folder away", partial, name));
      }
    }
    MOESAIC_TRY(files.remove_all(partial));
  }
  return files.make_directories(partial);
}

Result<PartialStore> open_partial_store(io::FileSystem& files, const std::string& partial,
                                        const ModelShape& shape, const WriterOptions& options) {
  const Json head = journal_head(shape, options);
  MOESAIC_ASSIGN(const io::FileStatus there, files.status(Journal::path(partial)));
  if (!there.exists) return begin(files, partial, head, options.weights);
  MOESAIC_ASSIGN(Journal::Found found, Journal::read(files, partial));
  if (found.head != head) {
    if (!found.head.is_null() && !options.force) {
      return bad_input(
          fmt::format("{}: belongs to an interrupted import of other sources or options; finish that one "
                      "with its own command, or give --force to drop it and start over",
                      partial));
    }
    return begin(files, partial, head, options.weights);
  }
  MOESAIC_ASSIGN(const std::size_t whole, whole_shards(files, partial, found.shards, options.weights));
  found.shards.resize(whole);
  MOESAIC_TRY(remove_the_rest(files, partial, whole));
  MOESAIC_ASSIGN(Journal journal, Journal::resume(files, partial, found.ends[whole]));
  return PartialStore{.journal = std::move(journal), .shards = std::move(found.shards)};
}

Status commit_partial_store(io::FileSystem& files, const std::string& path, StoreHeader header,
                            const std::map<std::string, ArrayContent>& arrays, bool force) {
  const std::string partial = partial_path(path);
  header.digest = store_digest(header, arrays);
  // What we write we must be able to read: a name that is not UTF-8 would show only then.
  MOESAIC_ASSIGN(const Json attributes, io::parse_json(to_json(header).dump(), partial));
  MOESAIC_TRY(parse_store_header(attributes, partial));
  MOESAIC_TRY(write_group(files, partial, attributes));
  MOESAIC_TRY(files.remove_all(Journal::path(partial)));
  MOESAIC_TRY(files.sync_directory(partial));
  return commit_store(files, path, force);
}

}  // namespace moesaic::trace
