#include "gateway/store_folder.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <vector>

#include "trace/paths.hpp"

namespace moesaic::gateway {
namespace {

constexpr std::string_view kSuffix = ".zarr";

/// "20270115T080000Z-000.zarr"; empty of what is no store of ours.
std::string_view time_of(std::string_view name) {
  for (const std::string_view kind : {"requests-", "counts-"}) {
    if (name.starts_with(kind)) return name.substr(kind.size());
  }
  return {};
}

Result<std::uint64_t> bytes_in(io::FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const io::FileStatus status, files.status(path));
  if (!status.is_directory) return status.size;
  MOESAIC_ASSIGN(const std::vector<std::string> names, files.list(path));
  std::uint64_t sum = 0;
  for (const std::string& name : names) {
    MOESAIC_ASSIGN(const std::uint64_t bytes, bytes_in(files, io::join_path(path, name)));
    sum += bytes;
  }
  return sum;
}

}  // namespace

Status StoreFolder::prepare() {
  MOESAIC_TRY(files_.make_directories(folder_));
  MOESAIC_ASSIGN(const std::vector<std::string> names, files_.list(folder_));
  for (const std::string& name : names) {
    if (time_of(name).ends_with(trace::partial_path(std::string(kSuffix)))) {
      MOESAIC_TRY(files_.remove_all(io::join_path(folder_, name)));
    }
  }
  return {};
}

Result<std::string> StoreFolder::free_name(std::string_view kind, std::int64_t arrival_ns) {
  const std::tm utc = fmt::gmtime(static_cast<std::time_t>(arrival_ns / 1'000'000'000));
  for (int number = 0;; ++number) {  // bytewise order is order in time
    std::string path =
        io::join_path(folder_, fmt::format("{}-{:%Y%m%dT%H%M%SZ}-{:03}{}", kind, utc, number, kSuffix));
    MOESAIC_ASSIGN(const io::FileStatus there, files_.status(path));
    if (!there.exists) return path;
  }
}

Status StoreFolder::remove_oldest() {
  MOESAIC_ASSIGN(std::vector<std::string> names, files_.list(folder_));
  std::erase_if(names, [](const std::string& name) { return !time_of(name).ends_with(kSuffix); });
  std::stable_sort(names.begin(), names.end(),
                   [](const std::string& a, const std::string& b) { return time_of(a) < time_of(b); });
  std::uint64_t total = 0;
  std::vector<std::uint64_t> bytes;
  for (const std::string& name : names) {
    MOESAIC_ASSIGN(const std::uint64_t size, bytes_in(files_, io::join_path(folder_, name)));
    bytes.push_back(size);
    total += size;
  }
  for (std::size_t i = 0; i + 1 < names.size() && total > max_bytes_; ++i) {
    MOESAIC_TRY(files_.remove_all(io::join_path(folder_, names[i])));
    total -= bytes[i];
  }
  return {};
}

}  // namespace moesaic::gateway
