// A client's body: whatever is read must come out again as a leg that reads the same.
#include "protocol/request_body.hpp"

#include "core/check.hpp"
#include "protocol/handoff.hpp"
#include "protocol/prompt_text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::protocol;
  if (size == 0) return 0;
  const Route route = data[0] % 2 == 0 ? Route::kCompletions : Route::kChat;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  RequestReader reader;
  const auto body = reader.read(text, route);
  if (!body) return 0;
  std::string plain = plain_body(*body).text();
  const auto again = reader.read(plain, route);
  MOESAIC_CHECK(again);
  MOESAIC_CHECK(again->reserved.empty());
  MOESAIC_CHECK(again->members.size() + body->reserved.size() == body->members.size());
  MOESAIC_CHECK(prompt_text(body->prompt, 64).size() <= 64);
  MOESAIC_CHECK(prefill_body(*body, Handoff::kNixl, "").text().size() > 2);
  return 0;
}
