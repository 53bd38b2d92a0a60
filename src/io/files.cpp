#include "io/files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace moesaic::io {
namespace {

tl::unexpected<Error> system_error(const char* operation, const std::string& path, int code) {
  std::string message = fmt::format("{}: cannot {}: {}", path, operation, std::strerror(code));
  // What the user named wrongly is bad input; what the machine refuses is its environment.
  const bool named_wrongly = code == ENOENT || code == ENOTDIR || code == EISDIR;
  return named_wrongly ? bad_input(std::move(message)) : environment_error(std::move(message));
}

class PosixReadFile final : public ReadFile {
 public:
  PosixReadFile(std::string path, int fd, std::uint64_t size)
      : path_(std::move(path)), fd_(fd), size_(size) {}
  ~PosixReadFile() override { ::close(fd_); }

  std::uint64_t size() const override { return size_; }

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return system_error("read", path_, errno);
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

 private:
  std::string path_;
  int fd_;
  std::uint64_t size_;
};

class PosixWriteFile final : public WriteFile {
 public:
  PosixWriteFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~PosixWriteFile() override { ::close(fd_); }

  Status append(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return system_error("write", path_, errno);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return {};
  }

  Status sync() override {
    if (::fsync(fd_) != 0) return system_error("sync", path_, errno);
    return {};
  }

 private:
  std::string path_;
  int fd_;
};

class RealFiles final : public FileSystem {
 public:
  Result<std::unique_ptr<ReadFile>> open(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return system_error("open", path, errno);
    struct stat info = {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd);
      return bad_input(fmt::format("{}: not a regular file", path));
    }
    return std::make_unique<PosixReadFile>(path, fd, static_cast<std::uint64_t>(info.st_size));
  }

  Result<std::unique_ptr<WriteFile>> create(const std::string& path) override {
    return open_for_writing(path, O_TRUNC, 0);
  }

  Result<std::unique_ptr<WriteFile>> append_to(const std::string& path, std::uint64_t keep) override {
    return open_for_writing(path, 0, keep);
  }

  Status rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return system_error("rename", from, errno);
    return {};
  }

  Status remove_all(const std::string& path) override {
    std::error_code code;
    std::filesystem::remove_all(path, code);
    if (code) return system_error("remove", path, code.value());
    return {};
  }

  Status make_directories(const std::string& path) override {
    std::error_code code;
    std::filesystem::create_directories(path, code);
    if (code) return system_error("create folder", path, code.value());
    return {};
  }

  Status sync_directory(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return system_error("open folder", path, errno);
    const int failed = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    if (failed != 0 && failed != EINVAL) return system_error("sync folder", path, failed);
    return {};
  }

  Result<FileStatus> status(const std::string& path) override {
    struct stat info = {};
    if (::stat(path.c_str(), &info) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return FileStatus{};
      return system_error("look at", path, errno);
    }
    return FileStatus{.exists = true,
                      .is_directory = S_ISDIR(info.st_mode),
                      .size = static_cast<std::uint64_t>(info.st_size)};
  }

  Result<std::vector<std::string>> list(const std::string& path) override {
    DIR* folder = ::opendir(path.c_str());
    if (folder == nullptr) return system_error("list", path, errno);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(folder)) {
      std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(std::move(name));
    }
    ::closedir(folder);
    std::ranges::sort(names);
    return names;
  }

 private:
  static Result<std::unique_ptr<WriteFile>> open_for_writing(const std::string& path, int flags,
                                                             std::uint64_t keep) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
    if (fd < 0) return system_error("create", path, errno);
    const auto end = static_cast<off_t>(keep);
    if ((flags & O_TRUNC) == 0 && (::ftruncate(fd, end) != 0 || ::lseek(fd, end, SEEK_SET) != end)) {
      const int code = errno;
      ::close(fd);
      return system_error("cut", path, code);
    }
    return std::make_unique<PosixWriteFile>(path, fd);
  }
};

}  // namespace

FileSystem& real_files() {
  static RealFiles files;
  return files;
}

Result<std::string> read_file(FileSystem& files, const std::string& path, std::uint64_t max_bytes) {
  MOESAIC_ASSIGN(const auto file, files.open(path));
  if (file->size() > max_bytes) {
    return bad_input(fmt::format("{}: {} bytes, expected at most {}", path, file->size(), max_bytes));
  }
  std::string text(static_cast<std::size_t>(file->size()), '\0');
  MOESAIC_TRY(read_exactly(*file, path, 0, std::as_writable_bytes(std::span(text))));
  return text;
}

Status read_exactly(const ReadFile& file, const std::string& path, std::uint64_t offset,
                    std::span<std::byte> out) {
  MOESAIC_ASSIGN(const std::size_t got, file.read_at(offset, out));
  if (got != out.size()) {
    return bad_input(fmt::format("{}: ends at byte {}, expected {} bytes at byte {}; the file is cut short",
                                 path, file.size(), out.size(), offset));
  }
  return {};
}

Status write_file_atomically(FileSystem& files, const std::string& path, std::string_view bytes, bool force) {
  MOESAIC_ASSIGN(const FileStatus there, files.status(path));
  if (there.is_directory) return bad_input(fmt::format("{}: is a folder, expected a file name", path));
  if (there.exists && !force) {
    return bad_input(fmt::format("{}: exists; give --force to replace it", path));
  }
  const std::string beside = path + ".tmp";
  const auto write = [&]() -> Status {
    MOESAIC_ASSIGN(const auto file, files.create(beside));
    MOESAIC_TRY(file->append(as_bytes(bytes)));
    return file->sync();
  };
  Status written = write();
  if (written) written = files.rename(beside, path);
  if (!written) {
    static_cast<void>(files.remove_all(beside));  // best effort: the first error is the one to tell
    return written;
  }
  return files.sync_directory(parent_path(path));
}

std::string parent_path(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(slash == 0 ? "/" : path.substr(0, slash));
}

std::string base_name(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

std::string join_path(std::string_view folder, std::string_view name) {
  std::string path(folder);
  if (!path.empty() && !path.ends_with('/')) path += '/';
  return path.append(name);
}

}  // namespace moesaic::io
