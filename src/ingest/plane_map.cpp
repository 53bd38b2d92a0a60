#include "ingest/plane_map.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "comm/parcel.hpp"
#include "core/limits.hpp"
#include "ingest/infer_top_k.hpp"

namespace moesaic::ingest {
namespace {

/// Gives a document of `width` ids a token its planes of k.
Status divide_document(ReadDocument& item, std::size_t k) {
  ParsedDocument& parsed = item.parsed;
  if (parsed.width == 0 || parsed.top_k != 0) return {};
  const std::size_t planes = parsed.width / k;
  if (planes == 0 || parsed.width % k != 0 || planes > limits::kMaxLayers) {
    return bad_input(
        fmt::format("{}: {} ids a token over all layers, expected a multiple of {} experts a token; import "
                    "the traces of one model at a time, and name it with --model",
                    item.document.path, parsed.width, k));
  }
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

bool lacks_planes(const ReadDocument& item) { return item.parsed.width != 0 && item.parsed.top_k == 0; }

bool any_lacks_planes(const std::vector<ReadDocument>& batch) {
  return std::ranges::any_of(batch, lacks_planes);
}

bool all_empty(const std::vector<ReadDocument>& batch) {
  return std::ranges::all_of(batch, [](const ReadDocument& item) { return item.parsed.empty(); });
}

/// The lowest of the ranks that can; none: comm.size(). Collective.
Result<std::size_t> lowest_that(comm::Comm& comm, bool can) {
  const comm::Bytes mine{static_cast<std::byte>(can)};
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> all, comm.all_gather(mine));
  return static_cast<std::size_t>(std::ranges::find(all, comm::Bytes{std::byte{1}}) - all.begin());
}

}  // namespace

bool PlaneMap::knows(const std::vector<ReadDocument>& batch) const {
  return (settled_ || all_empty(batch)) && (top_k_ != 0 || std::ranges::none_of(batch, lacks_planes));
}

Status PlaneMap::divide(std::vector<ReadDocument>& batch) const {
  if (top_k_ == 0) return {};
  for (ReadDocument& item : batch) MOESAIC_TRY(divide_document(item, top_k_));
  return {};
}

Status PlaneMap::learn(std::span<Batch> batches, Output& output, comm::Comm& comm) {
  // The first batch of all ranks that can tell: the lowest rank that has one, and there its first.
  const auto decide = [&](bool (*can)(const std::vector<ReadDocument>&),
                          Status (PlaneMap::*here)(const std::vector<ReadDocument>&, Output&)) -> Status {
    const auto first =
        std::ranges::find_if(batches, [&](const Batch& batch) { return can(batch.documents); });
    MOESAIC_ASSIGN(const std::size_t rank, lowest_that(comm, first != batches.end()));
    if (rank == comm.size()) return {};
    MOESAIC_TRY(comm::agree(comm, rank == comm.rank() ? (this->*here)(first->documents, output) : Status()));
    comm::Bytes state = pack();
    MOESAIC_TRY(comm.broadcast(state, rank));
    unpack(state);
    return {};
  };
  if (top_k_ == 0) MOESAIC_TRY(decide(any_lacks_planes, &PlaneMap::find_top_k));
  Status divided;
  for (Batch& batch : batches) {
    if (divided) divided = divide(batch.documents);
  }
  MOESAIC_TRY(comm::agree(comm, divided));
  if (settled_) return {};
  return decide([](const std::vector<ReadDocument>& batch) { return !all_empty(batch); }, &PlaneMap::settle);
}

Status PlaneMap::settle(const std::vector<ReadDocument>& batch, Output& output) {
  const ReadDocument* first = nullptr;
  std::vector<bool> zero;
  for (const ReadDocument& item : batch) {
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

Status PlaneMap::check(const ReadDocument& item) const {
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

std::span<const ExpertId> PlaneMap::rows(const std::vector<ExpertId>& experts,
                                         std::vector<ExpertId>& scratch) const {
  if (kept_.size() == planes_.size()) return experts;
  const std::size_t k = shape_.top_k;
  const std::size_t tokens = experts.size() / (planes_.size() * k);
  scratch.resize(tokens * kept_.size() * k);
  auto out = scratch.begin();
  for (std::size_t t = 0; t < tokens; ++t) {
    for (const std::size_t plane : kept_) {
      out = std::copy_n(experts.begin() + static_cast<std::ptrdiff_t>((t * planes_.size() + plane) * k), k,
                        out);
    }
  }
  return scratch;
}

Status PlaneMap::find_top_k(const std::vector<ReadDocument>& batch, Output& output) {
  const ReadDocument* first = nullptr;
  std::vector<std::span<const ExpertId>> blocks;
  for (const ReadDocument& item : batch) {
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

comm::Bytes PlaneMap::pack() const {
  comm::Packer parcel;
  parcel.put(top_k_);
  parcel.put(settled_);
  parcel.put_text(shape_.model);
  parcel.put(shape_.model_layers);
  parcel.put(shape_.layers);
  parcel.put(shape_.experts);
  parcel.put(shape_.top_k);
  parcel.put(planes_);
  parcel.put(kept_);
  parcel.put_text(first_path_);
  return parcel.take();
}

void PlaneMap::unpack(const comm::Bytes& bytes) {
  comm::Unpacker state(bytes);
  state.get(top_k_);
  state.get(settled_);
  shape_.model = state.get_text();
  state.get(shape_.model_layers);
  state.get(shape_.layers);
  state.get(shape_.experts);
  state.get(shape_.top_k);
  state.get(planes_);
  state.get(kept_);
  first_path_ = state.get_text();
}

}  // namespace moesaic::ingest
