// Expert counts out of what a prefiller sends: ELDR's signature (first byte even) or a reply with routed
// experts.
#include <cmath>
#include <string_view>

#include "core/check.hpp"
#include "gateway/usage.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::gateway;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const UsageShape shape{.layers = 2, .experts = 8};
  const auto usage =
      data[0] % 2 == 0 ? usage_of_eldr_signature(text, shape, 7) : usage_of_routed_experts(text, shape);
  if (!usage) return 0;
  MOESAIC_CHECK(usage->counts.size() == shape.cells() && usage->tokens > 0);
  for (const float count : usage->counts) MOESAIC_CHECK(std::isfinite(count) && count >= 0);
  return 0;
}
