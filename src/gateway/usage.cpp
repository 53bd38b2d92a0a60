#include "gateway/usage.hpp"

#include <algorithm>

#include "io/base64.hpp"
#include "protocol/routed_experts.hpp"

namespace moesaic::gateway {

std::optional<Usage> usage_of_eldr_signature(std::string_view base64, const UsageShape& shape,
                                             std::uint32_t prompt_tokens) {
  if (shape.cells() == 0 || base64.empty()) return std::nullopt;
  const auto bytes = io::decode_base64(base64, "eldr_sig", 2 * shape.cells());
  if (!bytes || bytes->size() != 2 * shape.cells()) return std::nullopt;
  Usage usage;
  usage.counts.reserve(shape.cells());
  usage.tokens = std::max(1u, prompt_tokens);
  for (std::size_t i = 0; i < bytes->size(); i += 2) {
    const auto low = std::to_integer<unsigned>((*bytes)[i]),
               high = std::to_integer<unsigned>((*bytes)[i + 1]);
    if (high >= 0x80) return std::nullopt;
    usage.counts.push_back(static_cast<float>(low | high << 8));
  }
  return usage;
}

std::optional<Usage> usage_of_routed_experts(std::string_view reply, const UsageShape& shape) {
  if (shape.cells() == 0 || reply.find("routed_experts") == std::string_view::npos) return std::nullopt;
  const auto routings = protocol::read_vllm_reply(reply, "the prefiller");
  if (!routings || routings->empty()) return std::nullopt;
  const protocol::ReplyRouting& routing = routings->front();
  const protocol::RoutedExperts& experts = routing.experts;
  if (experts.rows == 0 || protocol::is_all_zero(experts) || experts.width % shape.layers != 0)
    return std::nullopt;
  const std::size_t top_k = experts.width / shape.layers;
  const std::size_t rows =
      routing.prefill_rows > 0 ? std::min(routing.prefill_rows, experts.rows) : experts.rows;
  Usage usage;
  usage.counts.assign(shape.cells(), 0.0f);
  for (std::size_t row = 0; row < rows; ++row) {
    bool counted = false;
    for (std::size_t i = 0; i < experts.width; ++i) {
      const ExpertId id = experts.ids[row * experts.width + i];
      if (id == kMissingExpert) continue;
      if (index(id) >= shape.experts) return std::nullopt;
      usage.counts[i / top_k * shape.experts + index(id)] += 1;
      counted = true;
    }
    usage.tokens += counted ? 1 : 0;
  }
  if (usage.tokens == 0) return std::nullopt;
  return usage;
}

}  // namespace moesaic::gateway
