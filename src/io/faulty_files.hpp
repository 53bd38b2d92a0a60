// A file system that fails on purpose, for tests: the n-th writing operation fails, or the disk is full
// after so many bytes, and from then on nothing more reaches the files below (as after a crash).
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "io/files.hpp"

namespace moesaic::io {

struct FaultPlan {
  /// This writing operation (create, append, sync, rename, remove, make folder; from 0) fails.
  std::uint64_t fail_operation = std::numeric_limits<std::uint64_t>::max();
  /// append fails, after a short write, once so many bytes were written.
  std::uint64_t disk_bytes = std::numeric_limits<std::uint64_t>::max();
  /// After the first failure every later writing operation fails too: what kill -9 leaves behind.
  bool crash = false;
};

/// REQUIRES: `below` outlives this. Thread-safe where `below` is.
class FaultyFiles final : public FileSystem {
 public:
  FaultyFiles(FileSystem& below, FaultPlan plan) : below_(below), plan_(plan) {}

  std::uint64_t operations() const { return operations_; }
  bool failed() const { return failed_; }

  Result<std::unique_ptr<ReadFile>> open(const std::string& path) override;
  Result<std::unique_ptr<WriteFile>> create(const std::string& path) override;
  Result<std::unique_ptr<WriteFile>> append_to(const std::string& path, std::uint64_t keep) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove_all(const std::string& path) override;
  Status make_directories(const std::string& path) override;
  Status sync_directory(const std::string& path) override;
  Result<FileStatus> status(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;

 private:
  friend class FaultyWriteFile;
  /// Counts an operation; an error when it is the one to fail or the crash has happened.
  Status step(const char* operation, const std::string& path);
  /// How many of `wanted` bytes the disk still takes.
  std::uint64_t take_bytes(std::uint64_t wanted);

  FileSystem& below_;
  FaultPlan plan_;
  std::atomic<std::uint64_t> operations_{0}, written_{0};
  std::atomic<bool> failed_{false};
};

}  // namespace moesaic::io
