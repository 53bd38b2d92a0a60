// The request table as arrays under request/ (docs/store.md). Ids are one text with an end offset each.
#pragma once

#include <map>
#include <string>

#include "core/result.hpp"
#include "io/files.hpp"
#include "trace/requests.hpp"
#include "trace/store_header.hpp"

namespace moesaic::trace {

/// Writes `store`/request, synced, and adds its arrays to `arrays`.
Status write_requests(io::FileSystem& files, const std::string& store, const RequestTable& requests,
                      std::map<std::string, ArrayContent>& arrays);

/// Reads what write_requests wrote and validates it against a store of `tokens` tokens.
Result<RequestTable> read_requests(io::FileSystem& files, const std::string& store, std::uint64_t tokens);

/// Writes one column of a store and adds it to `arrays` under `name`, e.g. "request/start".
template <class T>
Status write_store_column(io::FileSystem& files, const std::string& store, const std::string& name,
                          const std::vector<T>& values, std::map<std::string, ArrayContent>& arrays,
                          Json attributes = {});

/// Writes a group's zarr.json, synced, and syncs its folder.
Status write_group(io::FileSystem& files, const std::string& folder, const Json& attributes);

/// Errors when `folder` is no group.
Status check_group(io::FileSystem& files, const std::string& folder);

/// The labels of a column of codes: its attribute "labels", unique strings.
Result<std::vector<std::string>> parse_labels(const Json& attributes, const std::string& where);
Json labels_json(const std::vector<std::string>& labels);

}  // namespace moesaic::trace
