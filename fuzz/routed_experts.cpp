// The first byte chooses the decoder; the rest is its input.
#include "protocol/routed_experts.hpp"

#include "core/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::protocol;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto check = [](const moesaic::Result<RoutedExperts>& out) {
    if (out) MOESAIC_CHECK(out->ids.size() == out->rows * out->width);
  };
  switch (data[0] % 4) {
    case 0:
      check(decode_int32(text, 1 + data[0] / 4, "fuzz"));
      break;
    case 1:
      check(decode_npy(text, "fuzz"));
      break;
    default:
      check(decode_nested(text, "fuzz"));
  }
  return 0;
}
