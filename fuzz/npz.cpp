#include "io/npz.hpp"

#include "io/memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const moesaic::io::MemoryFile file(std::as_bytes(std::span(data, size)));
  static_cast<void>(moesaic::io::read_npz(file, "fuzz"));
  return 0;
}
