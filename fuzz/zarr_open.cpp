// Opens and verifies a small whole store of which the input replaces some files: records of one byte (which
// file), two bytes (little-endian length) and so many bytes, the last one cut at the end of the input.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>

#include "io/memory_files.hpp"
#include "trace/inspect.hpp"
#include "trace/trace.hpp"
#include "trace/writer.hpp"

namespace {

using namespace moesaic;

/// Path and bytes of every file of a store of three shards with weights.
std::map<std::string, std::string> good_store() {
  io::MemoryFiles files;
  const ModelShape shape{
      .model = "", .model_layers = 3, .layers = {LayerId{0}, LayerId{2}}, .experts = 6, .top_k = 2};
  auto writer = trace::TokenWriter::open(
      files, "t", shape,
      {.weights = true, .fingerprint = "", .layout = {.shard_tokens = 8, .piece_tokens = 4}});
  if (!writer) std::abort();
  for (std::uint16_t r = 0; r < 4; ++r) {
    std::vector<ExpertId> experts(5 * 4);
    for (std::size_t i = 0; i < experts.size(); ++i) experts[i] = static_cast<ExpertId>((i * i + r) % 6);
    const std::vector<float> weights(experts.size(), 0.5f);
    const trace::RequestRecord request{.id = std::string(1, static_cast<char>('a' + r)),
                                       .domain = "d",
                                       .prefill_tokens = 2,
                                       .decode_tokens = 3};
    if (!writer->add_request(request, experts, weights)) std::abort();
  }
  if (!writer->finish(6, {})) std::abort();
  return files.contents("t");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::map<std::string, std::string> kGood = good_store();
  std::map<std::string, std::string> store = kGood;
  const std::uint8_t* const end = data + size;
  while (end - data >= 3) {
    const auto file = std::next(store.begin(), data[0] % static_cast<int>(store.size()));
    const std::size_t length =
        std::min<std::size_t>(data[1] + 256u * data[2], static_cast<std::size_t>(end - data) - 3);
    file->second.assign(reinterpret_cast<const char*>(data + 3), length);
    data += 3 + length;
  }
  io::MemoryFiles files;
  for (const auto& [path, bytes] : store) {
    const std::string whole = "t/" + path;
    if (!files.make_directories(io::parent_path(whole))) std::abort();
    auto written = files.create(whole);
    if (!written || !(*written)->append(io::as_bytes(bytes))) std::abort();
  }
  const auto opened = trace::Trace::open(files, "t");
  if (opened) static_cast<void>(trace::verify(files, *opened));
  return 0;
}
