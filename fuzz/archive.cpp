#include "io/archive.hpp"

#include "core/check.hpp"
#include "io/memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic::io;
  const MemoryFile file(std::as_bytes(std::span(data, size)));
  const UnpackLimits limits{
      .max_entries = 1000, .max_entry_bytes = 1 << 20, .max_ratio = 100, .slack_bytes = 1 << 20};
  auto reader = ArchiveReader::open(file, "fuzz", limits);
  std::uint64_t total = 0;
  while (reader) {
    const auto entry = reader->next();
    if (!entry || !*entry) break;
    total += (*entry)->bytes.size();
    MOESAIC_CHECK(!(*entry)->name.starts_with('/') && total <= size * limits.max_ratio + limits.slack_bytes);
  }
  return 0;
}
