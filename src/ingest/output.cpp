#include "ingest/output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "comm/parcel.hpp"
#include "core/check.hpp"
#include "core/limits.hpp"
#include "ingest/importer.hpp"

namespace moesaic::ingest {
namespace {

/// Why `known` cannot be the model of `seen`, or "".
std::string misfit(const ModelShape& known, const ModelShape& seen, bool layers_known) {
  if (seen.top_k != 0 && known.top_k != 0 && seen.top_k != known.top_k) {
    return fmt::format("{} experts a token, expected {}", seen.top_k, known.top_k);
  }
  if (seen.experts != 0 && known.experts != 0 && seen.experts != known.experts) {
    return fmt::format("{} experts a layer, expected {}", seen.experts, known.experts);
  }
  if (known.layers.empty()) return {};
  if (!layers_known) {
    if (seen.layers.size() == known.layers.size()) return {};
    return fmt::format("{} MoE layers, expected {}", seen.layers.size(), known.layers.size());
  }
  for (const LayerId layer : seen.layers) {
    if (!std::binary_search(known.layers.begin(), known.layers.end(), layer)) {
      return fmt::format("experts in layer {}, which is no MoE layer", index(layer));
    }
  }
  return {};
}

}  // namespace

void Anomalies::add(std::string_view kind, std::string_view what, std::uint64_t count) {
  for (trace::Anomaly& anomaly : list_) {
    if (anomaly.kind == kind && anomaly.what == what) {
      anomaly.count += count;
      return;
    }
  }
  list_.push_back({std::string(kind), std::string(what), count});
}

std::size_t experts_seen(std::span<const ExpertId> experts) {
  std::size_t seen = 0;
  for (const ExpertId id : experts) {
    const std::size_t one_more = id == kMissingExpert ? 0 : index(id) + 1;
    seen = std::max(seen, one_more);
  }
  return seen;
}

Output::Output(io::FileSystem& files, const ImportOptions& options, std::string fingerprint,
               trace::Provenance provenance)
    : files_(files),
      options_(options),
      fingerprint_(std::move(fingerprint)),
      provenance_(std::move(provenance)) {}

Output::~Output() = default;

std::optional<ModelShape> Output::known_shape(const std::string& path) const {
  if (options_.shape) return options_.shape;
  return options_.shape_by_path ? options_.shape_by_path(path) : std::nullopt;
}

Result<ModelShape> Output::settle_shape(const ModelShape& seen, bool layers_known, const std::string& path) {
  std::optional<ModelShape> known = known_shape(path);
  const std::string why = known ? misfit(*known, seen, layers_known) : std::string();
  if (options_.shape && !why.empty()) {
    return bad_input(
        fmt::format("{}: {} by the shape given for model \"{}\"; give the model that made this trace, "
                    "or none",
                    path, why, known->model));
  }
  if (!why.empty()) known.reset();
  if (known && !options_.shape) {
    anomalies_.add("assumed",
                   fmt::format("The model is taken to be {}, which stands in the path of the sources "
                               "(--model says otherwise).",
                               known->model));
  }
  ModelShape shape = seen;
  if (known) {
    shape.model = known->model;
    if (!known->layers.empty()) {
      shape.layers = known->layers;
      shape.model_layers = known->model_layers;
      layers_known = true;
    }
    if (known->experts != 0) shape.experts = known->experts;
    if (known->top_k != 0) shape.top_k = known->top_k;
  }
  if (!layers_known) {
    anomalies_.add("assumed",
                   "Rows of the layer axis are numbered from layer 0, because the source does not say "
                   "which layers they are (--model does).",
                   shape.layers.size());
  }
  if (shape.model_layers == 0 && !shape.layers.empty()) shape.model_layers = index(shape.layers.back()) + 1;
  if (shape.top_k == 0) {
    shape.top_k = 1;
    anomalies_.add("assumed",
                   "The number of experts a token is not in the source and is taken to be 1 (--model "
                   "gives it).");
  }
  ModelShape to_check = shape;
  if (to_check.experts == 0) to_check.experts = limits::kMaxExperts;
  if (Status status = validate(to_check); !status) {
    return bad_input(fmt::format("{}: {}", path, status.error().message));
  }
  return shape;
}

Status Output::open_tokens(const ModelShape& shape, trace::IdOrder order, bool weights) {
  MOESAIC_CHECK(writer_ == nullptr && !finished_);
  shape_ = shape;
  ModelShape writer_shape = shape;
  if (writer_shape.experts == 0) writer_shape.experts = limits::kMaxExperts;
  const trace::WriterOptions options{.force = options_.force,
                                     .order = order,
                                     .weights = weights,
                                     .fingerprint = fingerprint_,
                                     .pool = options_.pool,
                                     .comm = options_.comm,
                                     .layout = options_.layout};
  MOESAIC_ASSIGN(trace::TokenWriter writer,
                 trace::TokenWriter::open(files_, options_.output, writer_shape, options));
  writer_ = std::make_unique<trace::TokenWriter>(std::move(writer));
  skip_ = writer_->records_to_skip();
  return {};
}

void Output::abandon() {
  if (writer_ == nullptr || finished_) return;
  writer_.reset();
  // The error that brought us here is the one to report, not a failure to tidy up after it.
  if (options_.comm->is_root()) static_cast<void>(files_.remove_all(options_.output + ".partial"));
}

Status Output::check_ids(const std::string& where, std::span<const ExpertId> experts) {
  const std::size_t seen = experts_seen(experts);
  if (shape_.experts != 0 && seen > shape_.experts) {
    return bad_input(
        fmt::format("{}: expert id {}, expected below {}, the experts a layer of model \"{}\"; give "
                    "the model that made this trace",
                    where, seen - 1, shape_.experts, shape_.model));
  }
  if (seen > limits::kMaxExperts) {
    return bad_input(
        fmt::format("{}: expert id {}, expected below {}", where, seen - 1, limits::kMaxExperts));
  }
  experts_seen_ = std::max(experts_seen_, seen);
  return {};
}

std::uint64_t Output::tokens() const { return writer_ != nullptr ? writer_->tokens() : tokens_; }

Status Output::add_request(const std::string& where, trace::RequestRecord record,
                           std::span<const ExpertId> experts, std::span<const float> weights) {
  MOESAIC_CHECK(writer_ != nullptr);
  MOESAIC_TRY(check_ids(where, experts));
  if (!options_.domain.empty()) record.domain = options_.domain;
  if (skip_ > 0) {  // stored by the interrupted run; only counted again
    --skip_;
    return {};
  }
  return writer_->add_request(record, experts, weights);
}

Status Output::add_anonymous(const std::string& where, std::uint64_t tokens,
                             std::span<const ExpertId> experts, std::span<const float> weights) {
  MOESAIC_CHECK(writer_ != nullptr);
  MOESAIC_TRY(check_ids(where, experts));
  if (skip_ > 0) {
    --skip_;
    return {};
  }
  return writer_->add_anonymous(tokens, experts, weights);
}

Status Output::share() {
  if (options_.comm->size() == 1) return {};
  rounds_.push_back(std::exchange(anomalies_, {}));
  return writer_ != nullptr ? writer_->share() : Status();
}

/// At the root: the anomalies of all ranks in the order in which one rank would have met them.
Status Output::gather_anomalies() {
  comm::Packer parcel;
  for (const Anomalies& round : rounds_) {
    parcel.put(std::uint64_t{round.list().size()});
    for (const trace::Anomaly& anomaly : round.list()) {
      parcel.put_text(anomaly.kind);
      parcel.put_text(anomaly.what);
      parcel.put(anomaly.count);
    }
  }
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> all, comm::gather(*options_.comm, parcel.take()));
  std::vector<comm::Unpacker> ranks(all.begin(), all.end());
  for (std::size_t round = 0; round < rounds_.size(); ++round) {
    for (comm::Unpacker& theirs : ranks) {
      for (auto left = theirs.get<std::uint64_t>(); left > 0; --left) {
        const std::string kind = theirs.get_text(), what = theirs.get_text();
        anomalies_.add(kind, what, theirs.get<std::uint64_t>());
      }
    }
  }
  return {};
}

Status Output::finish_tokens() {
  MOESAIC_CHECK(writer_ != nullptr && !finished_);
  MOESAIC_TRY(share());
  MOESAIC_TRY(gather_anomalies());
  requests_ = writer_->requests().size();
  domains_ = writer_->requests().domains;
  tokens_ = writer_->tokens();
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> all,
                 options_.comm->all_gather(std::as_bytes(std::span(&experts_seen_, 1))));
  for (const comm::Bytes& theirs : all) {
    experts_seen_ = std::max(experts_seen_, comm::Unpacker(theirs).get<std::size_t>());
  }
  if (tokens_ == 0) {
    return bad_input(fmt::format("{}: the sources hold no token with experts, so there is nothing to import",
                                 fmt::join(provenance_.sources, ", ")));
  }
  if (shape_.experts == 0) {
    shape_.experts = std::max(experts_seen_, shape_.top_k);
    anomalies_.add("assumed",
                   fmt::format("The number of experts a layer is taken to be {}, one more than the "
                               "largest id seen (--model gives it).",
                               shape_.experts));
  }
  provenance_.anomalies = anomalies_.list();
  finished_ = true;
  return writer_->finish(shape_.experts, provenance_);
}

Status Output::counts(trace::CountStore store) {
  MOESAIC_CHECK(writer_ == nullptr && !finished_);
  if (store.rows.empty()) {
    return bad_input(fmt::format("{}: the sources hold no counts, so there is nothing to import",
                                 fmt::join(provenance_.sources, ", ")));
  }
  MOESAIC_TRY(validate(store.shape));
  if (!options_.domain.empty()) {
    store.requests.domains = {options_.domain};
    std::fill(store.requests.domain.begin(), store.requests.domain.end(), std::uint16_t{0});
    for (trace::CountRow& row : store.rows) row.domain = 0;
  }
  provenance_.anomalies = anomalies_.list();
  store.provenance = provenance_;
  kind_ = trace::Kind::kCounts;
  shape_ = store.shape;
  requests_ = store.requests.size();
  rows_ = store.rows.size();
  for (const trace::CountRow& row : store.rows) tokens_ += row.tokens;
  domains_ = store.requests.domains;
  finished_ = true;
  const trace::WriterOptions options{
      .force = options_.force, .fingerprint = fingerprint_, .pool = options_.pool};
  return trace::write_count_store(files_, options_.output, store, options);
}

void Output::summarise(ImportSummary& summary) const {
  summary.kind = kind_;
  summary.shape = shape_;
  summary.requests = requests_;
  summary.tokens = tokens_;
  summary.count_rows = rows_;
  summary.domains = domains_;
  summary.anomalies = anomalies_.list();
  summary.engine_map = engine_map_;
}

}  // namespace moesaic::ingest
