#include "ingest/token_documents.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/check.hpp"
#include "core/limits.hpp"
#include "core/thread_pool.hpp"
#include "ingest/infer_top_k.hpp"

namespace moesaic::ingest {
namespace {

// Bounds of a batch. They must not depend on the number of threads: the planes that count as dense are
// those of the first batch.
constexpr std::uint64_t kBatchBytes = 32ull << 20;
constexpr std::size_t kBatchDocuments = 256;
constexpr std::size_t kKeptBuffer = 4u << 20;

struct Item {
  Document document;
  ParsedDocument parsed;
};

/// Gives the documents of the stream in batches. A document larger than a batch comes alone.
class Batches {
 public:
  explicit Batches(Documents& documents) : documents_(documents) {}

  Result<std::vector<Item>> next() {
    std::vector<Item> batch;
    std::uint64_t bytes = 0;
    while (batch.size() < kBatchDocuments) {
      if (!pending_) {
        MOESAIC_ASSIGN(pending_, documents_.next());
        if (!pending_) break;
      }
      if (!batch.empty() && bytes + pending_->size > kBatchBytes) break;
      bytes += pending_->size;
      batch.push_back({std::move(*pending_), {}});
      pending_.reset();
    }
    return batch;
  }

 private:
  Documents& documents_;
  std::optional<Document> pending_;
};

/// Gives a document of `width` ids a token its planes of k.
Status divide(Item& item, std::size_t k) {
  ParsedDocument& parsed = item.parsed;
  if (parsed.width == 0 || parsed.top_k != 0) return {};
  if (parsed.width % k != 0 || parsed.width / k > limits::kMaxLayers) {
    return bad_input(
        fmt::format("{}: {} ids a token over all layers, expected a multiple of {} experts a token; import "
                    "the traces of one model at a time, and name it with --model",
                    item.document.path, parsed.width, k));
  }
  const std::size_t planes = parsed.width / k;
  parsed.top_k = k;
  parsed.model_layers = planes;
  parsed.planes.resize(planes);
  for (std::size_t p = 0; p < planes; ++p) parsed.planes[p] = LayerId(static_cast<std::uint16_t>(p));
  parsed.all_zero.assign(planes, true);
  for (const ParsedRequest& request : parsed.requests) {
    for (std::size_t i = 0; i < request.experts.size(); ++i) {
      if (request.experts[i] != ExpertId{0}) parsed.all_zero[i / k % planes] = false;
    }
  }
  return {};
}

/// Brings the planes of each document to the layers of the store.
class PlaneMap {
 public:
  bool settled() const { return settled_; }
  const ModelShape& shape() const { return shape_; }

  /// Divides documents that do not know their planes, once it is known how.
  Status divide_all(std::vector<Item>& batch, Output& output) {
    if (top_k_ == 0) {
      MOESAIC_TRY(find_top_k(batch, output));
      if (top_k_ == 0) return {};
    }
    for (Item& item : batch) MOESAIC_TRY(divide(item, top_k_));
    return {};
  }

  Status settle(const std::vector<Item>& batch, Output& output) {
    const Item* first = nullptr;
    std::vector<bool> zero;
    for (const Item& item : batch) {
      if (item.parsed.empty()) continue;
      if (first == nullptr) {
        first = &item;
        zero = item.parsed.all_zero;
      } else if (item.parsed.all_zero.size() == zero.size()) {
        for (std::size_t p = 0; p < zero.size(); ++p) zero[p] = zero[p] && item.parsed.all_zero[p];
      }
    }
    if (first == nullptr) return {};
    planes_ = first->parsed.planes;
    first_path_ = first->document.path;
    ModelShape seen;
    seen.top_k = first->parsed.top_k;
    seen.model_layers = first->parsed.model_layers;
    for (std::size_t p = 0; p < planes_.size(); ++p) {
      if (zero.empty() || !zero[p]) seen.layers.push_back(planes_[p]);
    }
    MOESAIC_ASSIGN(shape_, output.settle_shape(seen, first->parsed.layers_known, first->document.path));
    for (std::size_t row = 0; row < shape_.layers.size(); ++row) {
      if (!first->parsed.layers_known) {
        kept_.push_back(row);
        continue;
      }
      const auto plane = std::lower_bound(planes_.begin(), planes_.end(), shape_.layers[row]);
      if (plane == planes_.end() || *plane != shape_.layers[row]) {
        return bad_input(
            fmt::format("{}: no experts for layer {}, which model \"{}\" has; give the model that made "
                        "this trace",
                        first->document.path, index(shape_.layers[row]), shape_.model));
      }
      kept_.push_back(static_cast<std::size_t>(plane - planes_.begin()));
    }
    settled_ = true;
    return {};
  }

  /// The document must have the planes of the first one, and nothing in those that were taken for dense.
  Status check(const Item& item) const {
    const ParsedDocument& parsed = item.parsed;
    if (parsed.top_k != shape_.top_k) {
      return bad_input(
          fmt::format("{}: {} experts a token, expected {} as in {}; import the traces of one model "
                      "at a time",
                      item.document.path, parsed.top_k, shape_.top_k, first_path_));
    }
    if (parsed.planes != planes_) {
      return bad_input(
          fmt::format("{}: experts in {} layers, expected the same {} layers as in {}; import the "
                      "traces of one model at a time",
                      item.document.path, parsed.planes.size(), planes_.size(), first_path_));
    }
    std::size_t row = 0;
    for (std::size_t p = 0; p < parsed.all_zero.size(); ++p) {
      if (row < kept_.size() && kept_[row] == p) {
        ++row;
      } else if (!parsed.all_zero[p]) {
        return bad_input(
            fmt::format("{}: experts in layer {}, which looked dense (all zero) before; say which "
                        "layers are MoE with --model",
                        item.document.path, index(planes_[p])));
      }
    }
    return {};
  }

  /// Experts [tokens, L, k] of a request that has [tokens, planes, k].
  std::span<const ExpertId> rows(const std::vector<ExpertId>& experts, std::vector<ExpertId>& scratch) const {
    if (kept_.size() == planes_.size()) return experts;
    const std::size_t k = shape_.top_k;
    const std::size_t tokens = experts.size() / (planes_.size() * k);
    scratch.resize(tokens * kept_.size() * k);
    auto out = scratch.begin();
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t plane : kept_) {
        out = std::copy_n(experts.begin() + static_cast<std::ptrdiff_t>((t * planes_.size() + plane) * k), k,
                          out);
      }
    }
    return scratch;
  }

 private:
  Status find_top_k(const std::vector<Item>& batch, Output& output) {
    const Item* first = nullptr;
    std::vector<std::span<const ExpertId>> blocks;
    for (const Item& item : batch) {
      if (item.parsed.width == 0 || item.parsed.top_k != 0) continue;
      if (first == nullptr) first = &item;
      if (item.parsed.width != first->parsed.width) continue;
      for (const ParsedRequest& request : item.parsed.requests) blocks.emplace_back(request.experts);
    }
    if (first == nullptr) return {};
    const std::optional<ModelShape> known = output.known_shape(first->document.path);
    if (known && known->top_k != 0 && known->top_k * known->model_layers == first->parsed.width) {
      top_k_ = known->top_k;
      return {};
    }
    MOESAIC_ASSIGN(top_k_, infer_top_k(blocks, first->parsed.width, first->document.path));
    output.anomalies().add(
        "assumed",
        fmt::format("A token's {} ids over all layers are taken as {} an MoE layer, because a larger "
                    "number would repeat ids in a layer (--model says otherwise).",
                    first->parsed.width, top_k_));
    return {};
  }

  std::size_t top_k_ = 0;  ///< for documents that do not know it
  bool settled_ = false;
  ModelShape shape_;
  std::vector<LayerId> planes_;
  std::vector<std::size_t> kept_;  ///< plane of each layer row
  std::string first_path_;
};

Status parse_batch(std::vector<Item>& batch, Documents& documents, const ParseDocument& parse,
                   const ImportOptions& options) {
  const auto one = [&](std::size_t i) -> Status {
    Document& document = batch[i].document;
    // Small documents share one buffer a thread: fresh memory for each costs more than parsing it.
    thread_local std::string buffer;
    if (!document.loaded) document.bytes = std::move(buffer);
    MOESAIC_TRY(documents.load(document));
    document.size = document.bytes.size();
    MOESAIC_ASSIGN(batch[i].parsed, parse(document, options));
    document.loaded = false;
    buffer = std::move(document.bytes);
    document.bytes = std::string();
    if (buffer.capacity() > kKeptBuffer) buffer = std::string();
    return {};
  };
  if (options.pool != nullptr) return options.pool->try_parallel_for(batch.size(), one);
  for (std::size_t i = 0; i < batch.size(); ++i) MOESAIC_TRY(one(i));
  return {};
}

Status add_document(Item& item, const PlaneMap& map, Output& output, std::vector<ExpertId>& scratch) {
  for (const trace::Anomaly& anomaly : item.parsed.anomalies) {
    output.anomalies().add(anomaly.kind, anomaly.what, anomaly.count);
  }
  if (item.parsed.empty()) return {};
  MOESAIC_TRY(map.check(item));
  for (ParsedRequest& request : item.parsed.requests) {
    MOESAIC_TRY(output.add_request(item.document.path, std::move(request.record),
                                   map.rows(request.experts, scratch)));
  }
  return {};
}

}  // namespace

Status import_token_documents(ImportContext& context, const ParseDocument& parse) {
  Batches batches(context.documents);
  PlaneMap map;
  Progress progress;
  std::string first_path;
  std::vector<ExpertId> scratch;
  while (true) {
    MOESAIC_ASSIGN(std::vector<Item> batch, batches.next());
    if (batch.empty()) break;
    if (first_path.empty()) first_path = batch.front().document.path;
    MOESAIC_TRY(parse_batch(batch, context.documents, parse, context.options));
    MOESAIC_TRY(map.divide_all(batch, context.output));
    if (!map.settled()) {
      MOESAIC_TRY(map.settle(batch, context.output));
      if (map.settled()) MOESAIC_TRY(context.output.open_tokens(map.shape()));
    }
    for (Item& item : batch) {
      MOESAIC_TRY(add_document(item, map, context.output, scratch));
      ++progress.documents;
      progress.bytes += item.document.size;
    }
    progress.tokens = context.output.tokens();
    if (context.options.progress) context.options.progress(progress);
  }
  if (!context.output.is_open()) {
    return bad_input(
        fmt::format("{}: no token with experts in it, nor in a file after it; there is nothing to import",
                    first_path.empty() ? "the sources" : first_path));
  }
  return context.output.finish_tokens();
}

}  // namespace moesaic::ingest
