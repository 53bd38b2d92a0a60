// What a prefiller answers.
#include "core/check.hpp"
#include "io/json.hpp"
#include "protocol/first_token.hpp"
#include "protocol/handoff.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::protocol;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto first = read_first_token(text)) {
    // What the client and the decoder get is JSON. A key may come twice, as it did from the engine.
    for (const std::string& json : {first->event, first->usage_event, first->prompt_ids}) {
      const auto parsed = moesaic::io::parse_json(json, "fuzz");
      MOESAIC_CHECK(parsed || parsed.error().message.find("twice") != std::string::npos);
    }
  }
  const auto reply = read_prefill_reply(text);
  if (!reply || reply->kv_transfer_params.empty()) return 0;
  // What is relayed is JSON: it reads again inside another reply.
  const auto again = read_prefill_reply("{\"kv_transfer_params\":" + reply->kv_transfer_params + "}");
  MOESAIC_CHECK(again);
  MOESAIC_CHECK(again->kv_transfer_params == reply->kv_transfer_params);
  return 0;
}
