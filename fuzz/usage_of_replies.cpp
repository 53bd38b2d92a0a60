// Expert counts out of what engines send: ELDR's signature, or a reply with routed experts.
#include <cmath>
#include <string_view>

#include "core/check.hpp"
#include "gateway/known_experts.hpp"
#include "gateway/usage.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::gateway;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const UsageShape shape{.layers = 2, .experts = 8};
  const moesaic::ModelShape model{"m", 3, {moesaic::LayerId{1}, moesaic::LayerId{2}}, 8, 2};
  if (const auto known = experts_of_reply(text, model)) {
    const std::size_t tokens = std::size_t{known->prefill_tokens} + known->decode_tokens;
    MOESAIC_CHECK(tokens > 0 && known->experts.size() == tokens * 4);
    const auto before = prefill_usage(*known, model), after = decode_usage(*known, model);
    MOESAIC_CHECK((before ? before->tokens : 0) + (after ? after->tokens : 0) <= tokens);
  }
  const auto usage = usage_of_eldr_signature(text, shape, 7);
  if (!usage) return 0;
  MOESAIC_CHECK(usage->counts.size() == shape.cells() && usage->tokens > 0);
  for (const float count : usage->counts) MOESAIC_CHECK(std::isfinite(count) && count >= 0);
  return 0;
}
