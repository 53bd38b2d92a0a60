// How many bits does a store take for an activation, and how fast is it written and read? On the gpt-oss
// trace (shared data), one core; the store is in memory, so the codec is measured and not the disk.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "io/byte_stream.hpp"
#include "io/files.hpp"
#include "io/memory_files.hpp"
#include "support/shared_data.hpp"
#include "trace/inspect.hpp"
#include "trace/trace.hpp"
#include "trace/writer.hpp"

namespace {

using namespace moesaic;

constexpr std::size_t kTokens = 172'132, kLayers = 24, kTopK = 4;

double seconds_of(const auto& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

template <class T>
T must(Result<T> result) {
  if (!result) {
    fmt::print(stderr, "{}\n", result.error().message);
    std::exit(static_cast<int>(result.error().kind));
  }
  return std::move(*result);
}

void must(const Status& status) {
  if (status) return;
  fmt::print(stderr, "{}\n", status.error().message);
  std::exit(static_cast<int>(status.error().kind));
}

}  // namespace

int main() {
  const std::string source = testing::shared_data("traces/gpt-oss-20b-decode/experts.u8.bin.xz");
  const std::string raw = must(io::read_maybe_compressed(io::real_files(), source, 1u << 26));
  std::vector<ExpertId> experts;
  for (const char id : raw) experts.push_back(static_cast<ExpertId>(static_cast<unsigned char>(id)));
  ModelShape shape{
      .model = "gpt-oss-20b", .model_layers = kLayers, .layers = {}, .experts = 32, .top_k = kTopK};
  for (std::size_t l = 0; l < kLayers; ++l) shape.layers.push_back(static_cast<LayerId>(l));
  const double activations = static_cast<double>(experts.size());
  for (const trace::IdOrder order : {trace::IdOrder::kSet, trace::IdOrder::kScore}) {
    io::MemoryFiles files;
    const double write = seconds_of([&] {
      auto writer =
          must(trace::TokenWriter::open(files, "t", shape, {.order = order, .fingerprint = "bench"}));
      must(writer.add_anonymous(kTokens, experts));
      must(writer.finish(32, {}));
    });
    const auto trace = must(trace::Trace::open(files, "t"));
    std::vector<ExpertId> layer(kTokens * kTopK);
    std::size_t different = 0;
    double read = 1e9;
    for (int repeat = 0; repeat < 5; ++repeat) {
      double once = 0;
      for (std::size_t l = 0; l < kLayers; ++l) {
        once += seconds_of([&] { must(trace.read_layer(l, 0, kTokens, layer)); });
        for (std::size_t t = 0; order == trace::IdOrder::kScore && t < kTokens; ++t) {
          for (std::size_t j = 0; j < kTopK; ++j) {
            different += layer[t * kTopK + j] != experts[(t * kLayers + l) * kTopK + j];
          }
        }
      }
      read = std::min(read, once);
    }
    if (different != 0) {
      fmt::print(stderr, "{} ids differ\n", different);
      return 1;
    }
    const double bits = 8 * static_cast<double>(must(trace::data_bytes(files, trace))) / activations;
    fmt::print(
        "order {:<5}  {:.3f} bits an activation  write {:.2f} s ({:.0f} MB/s of ids)  read {:.3f} s ({:.0f} "
        "MB/s)\n",
        order == trace::IdOrder::kSet ? "set" : "score", bits, write, activations / 1e6 / write, read,
        activations / 1e6 / read);
  }
  return 0;
}
