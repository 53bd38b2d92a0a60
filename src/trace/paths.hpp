// The names a store may have while it is written or replaced, beside its own path.
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "io/files.hpp"

namespace moesaic::trace {

/// Where a store is written: "<path>.partial".
std::string partial_path(std::string_view path);
/// Where an old store waits while a new one takes its name: "<path>.replaced".
std::string replaced_path(std::string_view path);

/// Finishes or undoes what a crash inside commit_store left: an old store without a successor gets its name
/// back; one with a successor is removed.
Status recover_store(io::FileSystem& files, const std::string& path);

/// Gives the whole store at partial_path its name. An existing `path` is refused unless `force`; with it,
/// the old store is renamed aside, the new one takes its place and then the old one is removed, so that at
/// every moment one whole store exists.
Status commit_store(io::FileSystem& files, const std::string& path, bool force);

/// bad input when `path` exists and not `force`.
Status refuse_existing(io::FileSystem& files, const std::string& path, bool force);

}  // namespace moesaic::trace
