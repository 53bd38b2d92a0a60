#include "gateway/known_experts.hpp"

#include <algorithm>
#include <utility>

#include "protocol/routed_experts.hpp"

namespace moesaic::gateway {
namespace {

std::optional<Usage> usage_of_rows(const KnownExperts& known, const ModelShape& shape, std::size_t from,
                                   std::size_t to) {
  const std::size_t width = shape.layers.size() * shape.top_k;
  Usage usage;
  usage.counts.assign(shape.layers.size() * shape.experts, 0.0f);
  for (std::size_t row = from; row < to; ++row) {
    bool counted = false;
    for (std::size_t i = 0; i < width; ++i) {
      const ExpertId id = known.experts[row * width + i];
      if (id == kMissingExpert) continue;
      usage.counts[i / shape.top_k * shape.experts + index(id)] += 1;
      counted = true;
    }
    usage.tokens += counted ? 1 : 0;
  }
  if (usage.tokens == 0) return std::nullopt;
  return usage;
}

std::optional<protocol::ReplyRouting> routing_of(std::string_view reply) {
  const auto has = [&](std::string_view key) { return reply.find(key) != std::string_view::npos; };
  const bool sglang = has("\"sglext\"") || has("\"sgl_ext\"") || has("\"meta_info\"");
  if (!has("routed_experts\"") && !(sglang && has("expert_ids\""))) return std::nullopt;
  auto routings = sglang ? protocol::read_sglang_reply(reply, "the reply")
                         : protocol::read_vllm_reply(reply, "the reply");
  if (!routings || routings->empty()) return std::nullopt;
  return std::move(routings->front());
}

}  // namespace

std::optional<KnownExperts> experts_of_reply(std::string_view reply, const ModelShape& shape) {
  std::optional<protocol::ReplyRouting> routing = routing_of(reply);
  if (!routing) return std::nullopt;
  protocol::RoutedExperts& from = routing->experts;
  const std::size_t k = shape.top_k, layers = shape.layers.size();
  if (from.rows == 0 || protocol::is_all_zero(from) || (from.top_k != 0 && from.top_k != k))
    return std::nullopt;
  // A plane a MoE layer, or a plane a layer of the model with zeros in dense ones.
  const bool whole = from.width == shape.model_layers * k, moe = from.width == layers * k;
  if (!whole && !moe) return std::nullopt;
  const auto fits = [&](ExpertId id) { return id == kMissingExpert || index(id) < shape.experts; };
  if (!std::ranges::all_of(from.ids, fits)) return std::nullopt;
  KnownExperts known;
  known.prefill_tokens = static_cast<std::uint32_t>(std::min(routing->prefill_rows, from.rows));
  known.decode_tokens = static_cast<std::uint32_t>(from.rows - known.prefill_tokens);
  if (moe) {
    known.experts = std::move(from.ids);
    return known;
  }
  known.experts.reserve(from.rows * layers * k);
  for (std::size_t row = 0; row < from.rows; ++row) {
    for (const LayerId layer : shape.layers) {
      const auto plane = from.ids.begin() + static_cast<std::ptrdiff_t>(row * from.width + index(layer) * k);
      known.experts.insert(known.experts.end(), plane, plane + static_cast<std::ptrdiff_t>(k));
    }
  }
  return known;
}

std::optional<Usage> prefill_usage(const KnownExperts& known, const ModelShape& shape) {
  return usage_of_rows(known, shape, 0, known.prefill_tokens);
}

std::optional<Usage> decode_usage(const KnownExperts& known, const ModelShape& shape) {
  return usage_of_rows(known, shape, known.prefill_tokens,
                       std::size_t{known.prefill_tokens} + known.decode_tokens);
}

}  // namespace moesaic::gateway
