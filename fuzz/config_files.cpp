// The files a user writes or moves about, but for plan.json and gateway.yaml: the first byte chooses
// router.json, prompts, cluster.yaml, worker.yaml or a model's YAML; the rest is the file.
#include <cstdlib>
#include <string_view>

#include "artifact/prompts.hpp"
#include "artifact/router.hpp"
#include "core/check.hpp"
#include "cost/model_yaml.hpp"
#include "emulator/worker_config.hpp"
#include "io/memory_files.hpp"
#include "simulate/cluster_file.hpp"

namespace {

using namespace moesaic;

void check_refusal(const Error& error) {
  MOESAIC_CHECK(error.kind == ErrorKind::kBadInput && error.message.find("fuzz") != std::string::npos);
}

/// Whatever is read writes bytes that read back as the same router.
void router(std::string_view text) {
  const auto router = artifact::parse_router(text, "fuzz");
  if (!router) return check_refusal(router.error());
  const std::string written = artifact::to_json(*router);
  const auto again = artifact::parse_router(written, "fuzz");
  MOESAIC_CHECK(again && artifact::to_json(*again) == written);
}

void cluster(std::string_view text) {
  io::MemoryFiles files;
  if (!io::write_file_atomically(files, "fuzz", text, true)) std::abort();
  const auto file = simulate::read_cluster_file(files, "fuzz");
  if (!file) check_refusal(file.error());
}

template <class Read>
void only_read(Read read, std::string_view text) {
  const auto value = read(text, std::string("fuzz"));
  if (!value) check_refusal(value.error());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      router(text);
      break;
    case 1:
      only_read(artifact::parse_prompts, text);
      break;
    case 2:
      cluster(text);
      break;
    case 3:
      only_read(emulator::read_worker_config, text);
      break;
    default:
      only_read([](auto yaml, auto where) { return cost::read_model(yaml, where); }, text);
  }
  return 0;
}
