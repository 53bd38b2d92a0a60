// Runs an import into a folder of its own and opens what it wrote.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ingest/importer.hpp"
#include "support/temporary_folder.hpp"
#include "trace/trace.hpp"

namespace moesaic::testing {

inline ingest::ImportOptions of_format(std::string format) {
  ingest::ImportOptions options;
  options.format = std::move(format);
  return options;
}
inline ingest::ImportOptions with_axes(std::string axes) {
  ingest::ImportOptions options;
  options.axes = std::move(axes);
  return options;
}
inline ingest::ImportOptions with_domain_key(std::string key) {
  ingest::ImportOptions options;
  options.domain_key = std::move(key);
  return options;
}
inline ingest::ImportOptions with_shape(ModelShape shape) {
  ingest::ImportOptions options;
  options.shape = std::move(shape);
  return options;
}

class Imported {
 public:
  explicit Imported(const std::vector<std::string>& sources, ingest::ImportOptions options = {}) {
    options.output = folder_ / "out.zarr";
    auto done = ingest::import_trace(io::real_files(), sources, options);
    if (!done) {
      error_ = done.error().message;
      left_ = io::real_files().list(folder_.path())->size();
      return;
    }
    summary_ = std::move(*done);
    auto opened = trace::Trace::open(io::real_files(), options.output);
    if (opened) {
      trace_ = std::move(*opened);
    } else {
      error_ = opened.error().message;
    }
  }

  explicit operator bool() const { return trace_.has_value(); }
  /// The error's message; "" when there is none.
  const std::string& error() const { return error_; }
  /// Files a failed import has left behind.
  std::size_t left() const { return left_; }
  const ingest::ImportSummary& summary() const { return summary_; }
  const trace::Trace& trace() const { return *trace_; }

  /// Sum of the counts of all anomalies of that kind.
  std::uint64_t anomalies(const std::string& kind) const {
    std::uint64_t sum = 0;
    for (const trace::Anomaly& anomaly : summary_.anomalies) sum += anomaly.kind == kind ? anomaly.count : 0;
    return sum;
  }

  /// Experts [tokens, k] of one layer row.
  std::vector<ExpertId> layer(std::size_t row) const {
    std::vector<ExpertId> out(static_cast<std::size_t>(trace_->tokens()) * trace_->shape().top_k);
    const auto status = trace_->read_layer(row, 0, trace_->tokens(), out);
    return status ? out : std::vector<ExpertId>{};
  }

  /// How often each expert is chosen in one layer row.
  std::vector<std::int64_t> histogram(std::size_t row) const {
    std::vector<std::int64_t> out(trace_->shape().experts);
    for (const ExpertId id : layer(row)) {
      if (id != kMissingExpert) ++out[index(id)];
    }
    return out;
  }

  std::vector<double> counts(std::size_t row) const {
    std::vector<double> out(trace_->shape().layers.size() * trace_->shape().experts);
    const auto status = trace_->read_counts(row, out);
    return status ? out : std::vector<double>{};
  }

 private:
  TemporaryFolder folder_;
  ingest::ImportSummary summary_;
  std::optional<trace::Trace> trace_;
  std::string error_;
  std::size_t left_ = 0;
};

}  // namespace moesaic::testing
