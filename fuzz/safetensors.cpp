#include "io/safetensors.hpp"

#include "core/check.hpp"
#include "io/memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::io;
  const MemoryFile file(std::as_bytes(std::span(data, size)));
  const auto tensors = Safetensors::open(file, "fuzz");
  if (!tensors) return 0;
  for (const SafetensorsEntry& entry : tensors->entries()) MOESAIC_CHECK(tensors->read(entry));
  return 0;
}
