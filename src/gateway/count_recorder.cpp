#include "gateway/count_recorder.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/check.hpp"
#include "trace/writer.hpp"

namespace moesaic::gateway {
namespace {

constexpr std::size_t kMaxHeldBytes = 64u << 20;

/// Tokens that the counts count: known where every layer counts the same whole number of them. 0: not known.
std::uint64_t tokens_of(const Usage& usage, const ModelShape& shape) {
  std::uint64_t choices = 0;
  for (std::size_t begin = 0; begin < usage.counts.size(); begin += shape.experts) {
    const auto layer = usage.counts.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto sum = static_cast<std::uint64_t>(
        std::accumulate(layer, layer + static_cast<std::ptrdiff_t>(shape.experts), 0.0));
    if (begin > 0 && sum != choices) return 0;
    choices = sum;
  }
  return shape.top_k > 0 && choices % shape.top_k == 0 ? choices / shape.top_k : 0;
}

}  // namespace

CountRecorder::CountRecorder(io::FileSystem& files, const RecordOptions& options, ModelShape shape)
    : files_(files),
      folder_(files, options.folder, options.max_bytes),
      store_requests_(options.store_requests),
      shape_(std::move(shape)) {}

// NOLINTNEXTLINE(bugprone-exception-escape): out of memory alone, and then the program ends
CountRecorder::~CountRecorder() { static_cast<void>(close()); }

Status CountRecorder::add(const std::string& id, std::int64_t arrival_ns, const Usage& prefill) {
  MOESAIC_CHECK(prefill.counts.size() == shape_.layers.size() * shape_.experts);
  const trace::RequestRecord record{
      .id = id, .domain = "", .prefill_tokens = 0, .decode_tokens = 0, .arrival_ns = arrival_ns};
  if (Status fits = ledger_.check(record); !fits) {
    ++lost_;
    return fits;
  }
  if (rows_.empty()) first_ns_ = arrival_ns;
  rows_.push_back({.request = static_cast<std::uint32_t>(rows_.size()),
                   .window = 0,
                   .phase = Phase::kPrefill,
                   .domain = 0,
                   .tokens = tokens_of(prefill, shape_)});
  ledger_.add(record, 0);
  counts_.insert(counts_.end(), prefill.counts.begin(), prefill.counts.end());
  const bool full = rows_.size() >= store_requests_ || counts_.size() * sizeof(double) >= kMaxHeldBytes;
  return full ? close() : Status();
}

Status CountRecorder::write(std::uint64_t requests) {
  MOESAIC_ASSIGN(const std::string path, folder_.free_name("counts", first_ns_));
  trace::CountStore store{
      .shape = shape_,
      .unit = trace::CountUnit::kTokens,
      .requests = ledger_.table(),
      .rows = std::move(rows_),
      .counts = std::move(counts_),
      .provenance = {.format = "moesaic-gateway", .sources = {io::base_name(path)}, .anomalies = {}}};
  ledger_.add_anomalies(store.provenance.anomalies);
  MOESAIC_TRY(trace::write_count_store(files_, path, store, {}));
  requests_ += requests;
  ++stores_;
  return {};
}

Status CountRecorder::close() {
  const std::uint64_t requests = rows_.size();
  if (requests == 0) return {};
  Status written = write(requests);
  rows_.clear();
  counts_.clear();
  ledger_ = {};
  if (!written) {
    lost_ += requests;
    return written;
  }
  return folder_.remove_oldest();
}

}  // namespace moesaic::gateway
