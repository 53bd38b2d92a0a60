// A file system in memory, for tests and fuzzers: no disk, no waiting for syncs.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "io/files.hpp"

namespace moesaic::io {

/// Behaves as real_files() does, within what FileSystem promises. Paths are compared as text but for
/// trailing slashes; the folders "." and "/" exist. Thread-safe.
class MemoryFiles final : public FileSystem {
 public:
  Result<std::unique_ptr<ReadFile>> open(const std::string& path) override;
  Result<std::unique_ptr<WriteFile>> create(const std::string& path) override;
  Result<std::unique_ptr<WriteFile>> append_to(const std::string& path, std::uint64_t keep) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove_all(const std::string& path) override;
  Status make_directories(const std::string& path) override;
  Status sync_directory(const std::string& path) override;
  Result<FileStatus> status(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;

  /// Path and bytes of every file below `folder`, by path relative to it.
  std::map<std::string, std::string> contents(const std::string& folder) const;

 private:
  friend class MemoryWriteFile;
  using Bytes = std::shared_ptr<std::string>;

  bool is_folder(const std::string& path) const;
  Result<std::unique_ptr<WriteFile>> open_for_writing(const std::string& path, std::uint64_t keep);

  mutable std::mutex mutex_;
  std::map<std::string, Bytes> files_;
  std::set<std::string> folders_;
};

}  // namespace moesaic::io
