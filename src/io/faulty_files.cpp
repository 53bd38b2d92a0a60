#include "io/faulty_files.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesaic::io {

class FaultyWriteFile final : public WriteFile {
 public:
  FaultyWriteFile(FaultyFiles& files, std::string path, std::unique_ptr<WriteFile> below)
      : files_(files), path_(std::move(path)), below_(std::move(below)) {}

  Status append(std::span<const std::byte> bytes) override {
    MOESAIC_TRY(files_.step("write", path_));
    const std::uint64_t taken = files_.take_bytes(bytes.size());
    MOESAIC_TRY(below_->append(bytes.first(static_cast<std::size_t>(taken))));
    if (taken < bytes.size()) {
      return environment_error(fmt::format("{}: cannot write: No space left on device (injected)", path_));
    }
    return {};
  }

  Status sync() override {
    MOESAIC_TRY(files_.step("sync", path_));
    return below_->sync();
  }

 private:
  FaultyFiles& files_;
  std::string path_;
  std::unique_ptr<WriteFile> below_;
};

Status FaultyFiles::step(const char* operation, const std::string& path) {
  const bool now = operations_++ == plan_.fail_operation;
  if (now) failed_ = true;
  if (now || (plan_.crash && failed_)) {
    return environment_error(fmt::format("{}: cannot {}: Input/output error (injected)", path, operation));
  }
  return {};
}

std::uint64_t FaultyFiles::take_bytes(std::uint64_t wanted) {
  const std::uint64_t before = written_.fetch_add(wanted);
  const std::uint64_t left = plan_.disk_bytes - std::min(before, plan_.disk_bytes);
  if (left < wanted) failed_ = true;
  return std::min(left, wanted);
}

Result<std::unique_ptr<ReadFile>> FaultyFiles::open(const std::string& path) { return below_.open(path); }

Result<std::unique_ptr<WriteFile>> FaultyFiles::create(const std::string& path) {
  MOESAIC_TRY(step("create", path));
  MOESAIC_ASSIGN(auto file, below_.create(path));
  return std::make_unique<FaultyWriteFile>(*this, path, std::move(file));
}

Result<std::unique_ptr<WriteFile>> FaultyFiles::append_to(const std::string& path, std::uint64_t keep) {
  MOESAIC_TRY(step("create", path));
  MOESAIC_ASSIGN(auto file, below_.append_to(path, keep));
  return std::make_unique<FaultyWriteFile>(*this, path, std::move(file));
}

Status FaultyFiles::rename(const std::string& from, const std::string& to) {
  MOESAIC_TRY(step("rename", from));
  return below_.rename(from, to);
}

Status FaultyFiles::remove_all(const std::string& path) {
  MOESAIC_TRY(step("remove", path));
  return below_.remove_all(path);
}

Status FaultyFiles::make_directories(const std::string& path) {
  MOESAIC_TRY(step("create folder", path));
  return below_.make_directories(path);
}

Status FaultyFiles::sync_directory(const std::string& path) {
  MOESAIC_TRY(step("sync folder", path));
  return below_.sync_directory(path);
}

Result<FileStatus> FaultyFiles::status(const std::string& path) { return below_.status(path); }

Result<std::vector<std::string>> FaultyFiles::list(const std::string& path) { return below_.list(path); }

}  // namespace moesaic::io
