#include "gateway/usage.hpp"

#include <algorithm>

#include "io/base64.hpp"

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
  if (shape.top_k > 0) {
    std::uint64_t most = 0;
    for (std::size_t begin = 0; begin < usage.counts.size(); begin += shape.experts) {
      std::uint64_t sum = 0;
      for (std::size_t e = 0; e < shape.experts; ++e)
        sum += static_cast<std::uint64_t>(usage.counts[begin + e]);
      most = std::max(most, sum);
    }
    usage.tokens = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, most / shape.top_k));
  }
  return usage;
}

}  // namespace moesaic::gateway
