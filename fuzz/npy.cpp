#include "io/npy.hpp"

#include "core/check.hpp"
#include "io/files.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::io;
  const auto array = read_npy(std::as_bytes(std::span(data, size)), "fuzz");
  if (!array) return 0;
  MOESAIC_CHECK(array->data.size() == array->count() * array->item_bytes);
  const auto text = write_npy(*array);
  const auto again = read_npy(as_bytes(*text), "fuzz");
  MOESAIC_CHECK(again && again->data == array->data && again->shape == array->shape);
  static_cast<void>(to_int64(*array, "fuzz"));
  static_cast<void>(to_double(*array, "fuzz"));
  static_cast<void>(to_strings(*array, "fuzz"));
  return 0;
}
