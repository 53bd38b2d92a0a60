// plan.json: whatever is read writes bytes that read back as the same plan.
#include "artifact/plan.hpp"

#include <string_view>

#include "core/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::artifact;
  const auto plan = parse_plan(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  if (!plan) return 0;
  const std::string text = to_json(*plan);
  const auto again = parse_plan(text, "fuzz");
  MOESAIC_CHECK(again && to_json(*again) == text && again->placement == plan->placement);
  return 0;
}
