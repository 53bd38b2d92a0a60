// The first byte chooses engine and file form; the rest is the file.
#include "core/check.hpp"
#include "ingest/replies.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic;
  if (size == 0) return 0;
  ingest::Document document;
  document.name = data[0] & 2 ? "fuzz.jsonl" : "fuzz.json";
  document.path = document.name;
  document.bytes.reserve(size + ingest::kPadding);
  document.bytes.assign(data + 1, data + size);
  document.loaded = true;
  const auto parsed =
      data[0] & 1 ? ingest::parse_sglang_replies(document, {}) : ingest::parse_vllm_replies(document, {});
  if (!parsed) {
    MOESAIC_CHECK(parsed.error().kind == ErrorKind::kBadInput);
    return 0;
  }
  for (const auto& request : parsed->requests) {
    const std::uint64_t tokens = std::uint64_t{request.record.prefill_tokens} + request.record.decode_tokens;
    const std::size_t width = parsed->top_k == 0 ? parsed->width : parsed->planes.size() * parsed->top_k;
    MOESAIC_CHECK(request.experts.size() == tokens * width);
  }
  return 0;
}
