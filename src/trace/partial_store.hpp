// The folder "<path>.partial" in which a store comes into being: begun, taken up again, given its name.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "io/files.hpp"
#include "trace/journal.hpp"
#include "trace/store_header.hpp"
#include "trace/writer.hpp"

namespace moesaic::trace {

struct PartialStore {
  Journal journal;
  std::vector<JournalShard> shards;  ///< whole on disk
};

/// Takes up the import that left `partial`, or begins a new one there. A folder of another fingerprint,
/// shape or layout is an error unless options.force, which empties it; a folder that is none of ours is
/// never touched.
Result<PartialStore> open_partial_store(io::FileSystem& files, const std::string& partial,
                                        const ModelShape& shape, const WriterOptions& options);

/// A new, empty folder `partial`; what an interrupted run left there is removed, anything else refused.
Status renew_partial_folder(io::FileSystem& files, const std::string& partial);

/// Writes the root's zarr.json (with the digest), removes the journal and gives the store its name.
Status commit_partial_store(io::FileSystem& files, const std::string& path, StoreHeader header,
                            const std::map<std::string, ArrayContent>& arrays, bool force);

}  // namespace moesaic::trace
