// A folder of files through the whole import, whichever importer takes it. The first byte says whether the
// shape is given; then records of one byte (which name), two bytes (little-endian length) and so many bytes,
// the last one cut at the end of the input. What comes out is a store that verifies, or a refusal that leaves
// nothing.
#include <algorithm>
#include <cstdlib>

#include "core/check.hpp"
#include "ingest/importer.hpp"
#include "io/memory_files.hpp"
#include "trace/inspect.hpp"
#include "trace/trace.hpp"

namespace {

using namespace moesaic;

constexpr const char* kNames[] = {"a.json", "a.jsonl", "a.pt",       "a.npz",          "a.npy",
                                  "a.bin",  "a.csv",   "index.json", "meta_info.json", "rank0.safetensors"};

bool exists(io::FileSystem& files, const char* path) {
  const auto status = files.status(path);
  return status && status->exists;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  ingest::ImportOptions options{.output = "out.zarr"};
  if (data[0] & 1)
    options.shape = ModelShape{.model = "", .model_layers = 3, .layers = {}, .experts = 8, .top_k = 2};
  io::MemoryFiles files;
  if (!files.make_directories("in")) std::abort();
  const std::uint8_t* const end = data + size;
  ++data;
  while (end - data >= 3) {
    const std::string path = std::string("in/") + kNames[data[0] % std::size(kNames)];
    const std::size_t length =
        std::min<std::size_t>(data[1] + 256u * data[2], static_cast<std::size_t>(end - data) - 3);
    auto written = files.create(path);
    if (!written || !(*written)->append(std::as_bytes(std::span(data + 3, length)))) std::abort();
    data += 3 + length;
  }
  const std::string sources[] = {"in"};
  const auto summary = ingest::import_trace(files, sources, options);
  if (!summary) {
    MOESAIC_CHECK(summary.error().kind == ErrorKind::kBadInput);
    MOESAIC_CHECK(!exists(files, "out.zarr") && !exists(files, "out.zarr.partial"));
    return 0;
  }
  const auto trace = trace::Trace::open(files, "out.zarr");
  MOESAIC_CHECK(trace.has_value());
  const auto verified = trace::verify(files, *trace);
  MOESAIC_CHECK(verified.has_value());
  return 0;
}
