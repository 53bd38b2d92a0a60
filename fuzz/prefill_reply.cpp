// What a prefiller answers.
#include "core/check.hpp"
#include "protocol/handoff.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::protocol;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto reply = read_prefill_reply(text);
  if (!reply || reply->kv_transfer_params.empty()) return 0;
  // What is relayed is JSON: it reads again inside another reply.
  const auto again = read_prefill_reply("{\"kv_transfer_params\":" + reply->kv_transfer_params + "}");
  MOESAIC_CHECK(again);
  MOESAIC_CHECK(again->kv_transfer_params == reply->kv_transfer_params);
  return 0;
}
