#include "trace/piece_buffer.hpp"

#include <algorithm>
#include <limits>

#include "core/thread_pool.hpp"

namespace moesaic::trace {
namespace {

/// Insertion sort: k is small, and a token's ids often come sorted already.
void sort_token(std::span<ExpertId> ids, std::span<float> weights) {
  for (std::size_t i = 1; i < ids.size(); ++i) {
    for (std::size_t j = i; j > 0 && ids[j] < ids[j - 1]; --j) {
      std::swap(ids[j], ids[j - 1]);
      if (!weights.empty()) std::swap(weights[j], weights[j - 1]);
    }
  }
}

}  // namespace

PieceBuffer::PieceBuffer(std::size_t layers, std::size_t top_k, std::size_t piece_tokens, io::ZarrType type,
                         IdOrder order, bool weights)
    : layers_(layers),
      top_k_(top_k),
      piece_tokens_(piece_tokens),
      type_(type),
      order_(order),
      has_weights_(weights) {}

std::size_t PieceBuffer::fill(std::size_t tokens, std::span<const ExpertId> experts,
                              std::span<const float> weights) {
  const std::size_t width = layers_ * top_k_;
  const std::size_t taken = std::min(tokens, piece_tokens_ - tokens_);
  const auto count = static_cast<std::ptrdiff_t>(taken * width);
  experts_.insert(experts_.end(), experts.begin(), experts.begin() + count);
  if (has_weights_) weights_.insert(weights_.end(), weights.begin(), weights.begin() + count);
  tokens_ += taken;
  return taken;
}

PieceBuffer::Encoded PieceBuffer::encode(ThreadPool* pool) {
  Encoded out;
  out.experts.resize(layers_);
  if (has_weights_) out.weights.resize(layers_);
  const auto one = [&](std::size_t layer) { encode_layer(layer, out); };
  if (pool != nullptr) {
    pool->parallel_for(layers_, one);
  } else {
    for (std::size_t layer = 0; layer < layers_; ++layer) one(layer);
  }
  experts_.clear();
  weights_.clear();
  tokens_ = 0;
  return out;
}

void PieceBuffer::encode_layer(std::size_t layer, Encoded& out) const {
  const std::size_t size = piece_tokens_ * top_k_;
  std::vector<ExpertId> ids(size, kMissingExpert);
  std::vector<float> weights(has_weights_ ? size : 0, std::numeric_limits<float>::quiet_NaN());
  for (std::size_t token = 0; token < tokens_; ++token) {
    const std::size_t from = (token * layers_ + layer) * top_k_, to = token * top_k_;
    if (top_k_ == 1) {
      ids[to] = experts_[from];  // a single id is too short for a call
    } else {
      std::copy_n(&experts_[from], top_k_, &ids[to]);
    }
    if (has_weights_) std::copy_n(&weights_[from], top_k_, &weights[to]);
    if (order_ == IdOrder::kSet) {
      sort_token({&ids[to], top_k_}, has_weights_ ? std::span(&weights[to], top_k_) : std::span<float>());
    }
  }
  if (type_ == io::ZarrType::kUint8) {
    std::vector<std::uint8_t> narrow(size);
    std::ranges::transform(ids, narrow.begin(),
                           [](ExpertId id) { return static_cast<std::uint8_t>(index(id)); });
    out.experts[layer] = io::encode_piece(std::as_bytes(std::span(narrow)));
  } else {
    out.experts[layer] = io::encode_piece(std::as_bytes(std::span(ids)));
  }
  if (has_weights_) out.weights[layer] = io::encode_piece(std::as_bytes(std::span(weights)));
}

}  // namespace moesaic::trace
