#include "gateway/store_recorder.hpp"

#include <utility>

#include "trace/paths.hpp"

namespace moesaic::gateway {
StoreRecorder::StoreRecorder(io::FileSystem& files, RecordOptions options, ModelShape shape)
    : files_(files),
      options_(std::move(options)),
      folder_(files, options_.folder, options_.max_bytes),
      shape_(std::move(shape)) {}

StoreRecorder::~StoreRecorder() { static_cast<void>(close()); }

Status StoreRecorder::open(std::int64_t arrival_ns) {
  MOESAIC_ASSIGN(path_, folder_.free_name("requests", arrival_ns));
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
  return folder_.remove_oldest();
}

}  // namespace moesaic::gateway
