#include "io/torch_file.hpp"

#include "core/check.hpp"
#include "io/memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::io;
  const auto bytes = std::as_bytes(std::span(data, size));
  // Most mutations of a zip fail its checksums; the pickle is the part worth reaching.
  static_cast<void>(Pickle::parse(bytes, "fuzz"));
  const auto file = TorchFile::read(MemoryFile(bytes), "fuzz");
  if (!file) return 0;
  const PickleValue root = file->root();
  for (std::size_t i = 0; i < root.size(); ++i) {
    const PickleValue value = root.is_dict() ? root.entry(i).second : root.at(i);
    MOESAIC_CHECK(!value.description().empty());
    if (value.as_tensor() == nullptr) continue;
    const auto array = file->materialise(*value.as_tensor());
    MOESAIC_CHECK(!array || array->data.size() == array->count() * array->item_bytes);
  }
  return 0;
}
