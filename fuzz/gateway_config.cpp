// gateway.yaml: what is read is a gateway that could start, and reads the same again.
#include <string_view>

#include "core/check.hpp"
#include "gateway/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace moesaic;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = gateway::read_config(text, "fuzz");
  if (!config) {
    MOESAIC_CHECK(config.error().message.starts_with("fuzz"));  // it says where
    return 0;
  }
  for (const gateway::WorkerSpec& worker : config->workers) {
    MOESAIC_CHECK(!worker.name.empty() && !worker.host.empty() && worker.port != 0 && worker.ranks != 0);
  }
  const auto again = gateway::read_config(text, "fuzz");
  MOESAIC_CHECK(again && again->workers == config->workers && again->listen == config->listen);
  return 0;
}
