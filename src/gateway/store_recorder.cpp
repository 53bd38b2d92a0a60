#include "gateway/store_recorder.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <utility>

#include "trace/paths.hpp"

namespace moesaic::gateway {
namespace {

constexpr std::string_view kPrefix = "requests-", kSuffix = ".zarr";

bool is_store(std::string_view name) { return name.starts_with(kPrefix) && name.ends_with(kSuffix); }

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

StoreRecorder::StoreRecorder(io::FileSystem& files, RecordOptions options, ModelShape shape)
    : files_(files), options_(std::move(options)), shape_(std::move(shape)) {}

StoreRecorder::~StoreRecorder() { static_cast<void>(close()); }

Status StoreRecorder::prepare() {
  MOESAIC_TRY(files_.make_directories(options_.folder));
  MOESAIC_ASSIGN(const std::vector<std::string> names, files_.list(options_.folder));
  for (const std::string& name : names) {
    if (name.starts_with(kPrefix) && name.ends_with(trace::partial_path(kSuffix))) {
      MOESAIC_TRY(files_.remove_all(io::join_path(options_.folder, name)));
    }
  }
  return {};
}

Result<std::string> StoreRecorder::free_name(std::int64_t arrival_ns) {
  const std::tm utc = fmt::gmtime(static_cast<std::time_t>(arrival_ns / 1'000'000'000));
  for (int number = 0;; ++number) {  // bytewise order is order in time
    std::string path = io::join_path(
        options_.folder, fmt::format("{}{:%Y%m%dT%H%M%SZ}-{:03}{}", kPrefix, utc, number, kSuffix));
    MOESAIC_ASSIGN(const io::FileStatus there, files_.status(path));
    if (!there.exists) return path;
  }
}

Status StoreRecorder::open(std::int64_t arrival_ns) {
  MOESAIC_ASSIGN(path_, free_name(arrival_ns));
  auto writer = trace::TokenWriter::open(files_, path_, shape_, {.fingerprint = "moesaic gateway"});
  if (!writer) return tl::unexpected(writer.error());
  writer_ = std::make_unique<trace::TokenWriter>(std::move(*writer));
  return {};
}

Status StoreRecorder::broken(const Error& error) {
  writer_.reset();
  lost_ += std::exchange(open_, 0);
  paused_ = true;
  static_cast<void>(
      files_.remove_all(trace::partial_path(path_)));  // what cannot be removed now goes at the next start
  return tl::unexpected(error);
}

Status StoreRecorder::add(const std::string& id, std::int64_t arrival_ns, const KnownExperts& known) {
  if (paused_) {
    ++lost_;
    return {};
  }
  Status added;
  if (!writer_) added = open(arrival_ns);
  ++open_;
  if (added) {
    added = writer_->add_request({.id = id,
                                  .domain = "",
                                  .prefill_tokens = known.prefill_tokens,
                                  .decode_tokens = known.decode_tokens,
                                  .arrival_ns = arrival_ns},
                                 known.experts);
  }
  if (!added) return broken(added.error());
  return open_ < options_.store_requests ? Status() : close();
}

Status StoreRecorder::close() {
  paused_ = false;
  if (!writer_) return {};
  const Status whole = writer_->finish(
      shape_.experts, {.format = "moesaic-gateway", .sources = {io::base_name(path_)}, .anomalies = {}});
  if (!whole) {
    const Status lost = broken(whole.error());
    paused_ = false;
    return lost;
  }
  writer_.reset();
  requests_ += std::exchange(open_, 0);
  ++stores_;
  return remove_oldest();
}

Status StoreRecorder::remove_oldest() {
  MOESAIC_ASSIGN(std::vector<std::string> names, files_.list(options_.folder));
  std::erase_if(names, [](const std::string& name) { return !is_store(name); });
  std::uint64_t total = 0;
  std::vector<std::uint64_t> bytes;
  for (const std::string& name : names) {
    MOESAIC_ASSIGN(const std::uint64_t size, bytes_in(files_, io::join_path(options_.folder, name)));
    bytes.push_back(size);
    total += size;
  }
  for (std::size_t i = 0; i + 1 < names.size() && total > options_.max_bytes; ++i) {
    MOESAIC_TRY(files_.remove_all(io::join_path(options_.folder, names[i])));
    total -= bytes[i];
  }
  return {};
}

}  // namespace moesaic::gateway
