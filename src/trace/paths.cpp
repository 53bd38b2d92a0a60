#include "trace/paths.hpp"

#include <fmt/format.h>

namespace moesaic::trace {
namespace {

std::string beside(std::string_view path, std::string_view suffix) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return std::string(path).append(suffix);
}

/// What we may replace or remove: a folder that is a Zarr group.
Result<bool> looks_like_store(io::FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const io::FileStatus metadata, files.status(io::join_path(path, "zarr.json")));
  return metadata.exists;
}

}  // namespace

std::string partial_path(std::string_view path) { return beside(path, ".partial"); }
std::string replaced_path(std::string_view path) { return beside(path, ".replaced"); }

Status recover_store(io::FileSystem& files, const std::string& path) {
  const std::string old = replaced_path(path);
  MOESAIC_ASSIGN(const bool is_store, looks_like_store(files, old));
  if (!is_store) return {};
  MOESAIC_ASSIGN(const io::FileStatus current, files.status(path));
  if (current.exists) return files.remove_all(old);
  return files.rename(old, path);
}

Status commit_store(io::FileSystem& files, const std::string& path, bool force) {
  MOESAIC_TRY(refuse_existing(files, path, force));
  MOESAIC_ASSIGN(const io::FileStatus current, files.status(path));
  const std::string old = replaced_path(path);
  if (current.exists) {
    MOESAIC_ASSIGN(const io::FileStatus aside, files.status(old));
    if (aside.exists) {
      return bad_input(fmt::format(
          "{}: exists, but the old store is to wait there while it is replaced; move it away", old));
    }
    MOESAIC_TRY(files.rename(path, old));
  }
  Status renamed = files.rename(partial_path(path), path);
  if (!renamed) {
    if (current.exists) static_cast<void>(files.rename(old, path));  // the first error is the one to tell
    return renamed;
  }
  MOESAIC_TRY(files.sync_directory(io::parent_path(path)));
  if (current.exists) return files.remove_all(old);
  return {};
}

Status refuse_existing(io::FileSystem& files, const std::string& path, bool force) {
  MOESAIC_ASSIGN(const io::FileStatus current, files.status(path));
  if (!current.exists) return {};
  if (!force) return bad_input(fmt::format("{}: exists; give --force to replace it", path));
  MOESAIC_ASSIGN(const bool is_store, looks_like_store(files, path));
  if (!is_store) {
    return bad_input(fmt::format(
        "{}: exists and is no trace store, so --force does not replace it; remove it first", path));
  }
  return {};
}

}  // namespace moesaic::trace
