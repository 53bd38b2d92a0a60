#include "io/memory_files.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "io/memory_file.hpp"

namespace moesaic::io {
namespace {

std::string plain(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return std::string(path);
}

bool below(const std::string& path, const std::string& folder) {
  return path.size() > folder.size() + 1 && path.starts_with(folder) && path[folder.size()] == '/';
}

tl::unexpected<Error> no_such(const char* operation, const std::string& path) {
  return bad_input(fmt::format("{}: cannot {}: No such file or directory", path, operation));
}

}  // namespace

/// A snapshot of the bytes, as they were when it was opened.
class MemoryReadFile final : public ReadFile {
 public:
  explicit MemoryReadFile(std::string bytes) : bytes_(std::move(bytes)) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    return MemoryFile(std::as_bytes(std::span(bytes_))).read_at(offset, out);
  }

 private:
  std::string bytes_;
};

class MemoryWriteFile final : public WriteFile {
 public:
  MemoryWriteFile(MemoryFiles& files, MemoryFiles::Bytes bytes) : files_(files), bytes_(std::move(bytes)) {}
  Status append(std::span<const std::byte> bytes) override {
    const std::lock_guard lock(files_.mutex_);
    bytes_->append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  Status sync() override { return {}; }

 private:
  MemoryFiles& files_;
  MemoryFiles::Bytes bytes_;  ///< stays after a rename or remove, as an open file does
};

bool MemoryFiles::is_folder(const std::string& path) const {
  return path == "." || path == "/" || folders_.contains(path);
}

Result<std::unique_ptr<ReadFile>> MemoryFiles::open(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (is_folder(plain(path))) return bad_input(fmt::format("{}: not a regular file", path));
  const auto file = files_.find(plain(path));
  if (file == files_.end()) return no_such("open", path);
  return std::make_unique<MemoryReadFile>(*file->second);
}

Result<std::unique_ptr<WriteFile>> MemoryFiles::create(const std::string& path) {
  return open_for_writing(path, 0);
}

Result<std::unique_ptr<WriteFile>> MemoryFiles::append_to(const std::string& path, std::uint64_t keep) {
  return open_for_writing(path, keep);
}

Result<std::unique_ptr<WriteFile>> MemoryFiles::open_for_writing(const std::string& path,
                                                                 std::uint64_t keep) {
  const std::lock_guard lock(mutex_);
  const std::string name = plain(path);
  if (is_folder(name)) return bad_input(fmt::format("{}: cannot create: Is a directory", path));
  if (!is_folder(parent_path(name))) return no_such("create", path);
  Bytes& bytes = files_[name];
  if (bytes == nullptr) bytes = std::make_shared<std::string>();
  bytes->resize(static_cast<std::size_t>(keep));
  return std::make_unique<MemoryWriteFile>(*this, bytes);
}

Status MemoryFiles::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  const std::string old_name = plain(from), new_name = plain(to);
  if (!is_folder(parent_path(new_name))) return no_such("rename", from);
  if (const auto file = files_.find(old_name); file != files_.end()) {
    if (is_folder(new_name)) return bad_input(fmt::format("{}: cannot rename: Is a directory", from));
    Bytes bytes = std::move(file->second);
    files_.erase(file);
    files_[new_name] = std::move(bytes);
    return {};
  }
  if (!folders_.contains(old_name)) return no_such("rename", from);
  const auto in_the_way = [&](const auto& path) { return path == new_name || below(path, new_name); };
  const bool taken = std::ranges::any_of(files_, in_the_way, [](const auto& f) { return f.first; }) ||
                     std::ranges::any_of(folders_, [&](const auto& path) { return below(path, new_name); });
  if (taken) return environment_error(fmt::format("{}: cannot rename: Directory not empty", from));
  std::map<std::string, Bytes> files;
  for (auto& [path, bytes] : files_) {
    files[below(path, old_name) ? new_name + path.substr(old_name.size()) : path] = std::move(bytes);
  }
  std::set<std::string> folders;
  for (const std::string& path : folders_) {
    const bool moves = path == old_name || below(path, old_name);
    folders.insert(moves ? new_name + path.substr(old_name.size()) : path);
  }
  files_ = std::move(files);
  folders_ = std::move(folders);
  return {};
}

Status MemoryFiles::remove_all(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const std::string name = plain(path);
  std::erase_if(files_, [&](const auto& file) { return file.first == name || below(file.first, name); });
  std::erase_if(folders_, [&](const auto& folder) { return folder == name || below(folder, name); });
  return {};
}

Status MemoryFiles::make_directories(const std::string& path) {
  const std::lock_guard lock(mutex_);
  for (std::string name = plain(path); !is_folder(name); name = parent_path(name)) {
    if (files_.contains(name))
      return bad_input(fmt::format("{}: cannot create folder: Not a directory", path));
    folders_.insert(name);
  }
  return {};
}

Status MemoryFiles::sync_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (!is_folder(plain(path))) return no_such("open folder", path);
  return {};
}

Result<FileStatus> MemoryFiles::status(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const std::string name = plain(path);
  if (is_folder(name)) return FileStatus{.exists = true, .is_directory = true, .size = 0};
  const auto file = files_.find(name);
  if (file == files_.end()) return FileStatus{};
  return FileStatus{.exists = true, .is_directory = false, .size = file->second->size()};
}

Result<std::vector<std::string>> MemoryFiles::list(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const std::string name = plain(path);
  if (!is_folder(name)) return no_such("list", path);
  std::vector<std::string> names;
  const auto look_at = [&](const std::string& entry) {
    if (parent_path(entry) == name && entry != name) names.push_back(base_name(entry));
  };
  for (const auto& [entry, bytes] : files_) look_at(entry);
  for (const std::string& entry : folders_) look_at(entry);
  std::ranges::sort(names);
  return names;
}

std::map<std::string, std::string> MemoryFiles::contents(const std::string& folder) const {
  const std::lock_guard lock(mutex_);
  const std::string name = plain(folder);
  std::map<std::string, std::string> found;
  for (const auto& [path, bytes] : files_) {
    if (below(path, name)) found[path.substr(name.size() + 1)] = *bytes;
  }
  return found;
}

}  // namespace moesaic::io
