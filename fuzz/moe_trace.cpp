#include "ingest/moe_trace.hpp"

#include "core/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic;
  ingest::Document document;
  document.path = document.name = "fuzz.json";
  document.bytes.reserve(size + ingest::kPadding);
  document.bytes.assign(data, data + size);
  document.loaded = true;
  const auto parsed = ingest::parse_moe_trace(document, {});
  if (!parsed) {
    MOESAIC_CHECK(parsed.error().kind == ErrorKind::kBadInput);
    MOESAIC_CHECK(parsed.error().message.starts_with("fuzz.json"));
    return 0;
  }
  for (const auto& request : parsed->requests) {
    const std::uint64_t tokens = std::uint64_t{request.record.prefill_tokens} + request.record.decode_tokens;
    MOESAIC_CHECK(request.experts.size() == tokens * parsed->planes.size() * parsed->top_k);
    for (ExpertId id : request.experts) MOESAIC_CHECK(id != kMissingExpert);
  }
  return 0;
}
