#include <fmt/format.h>

#include <csignal>
#include <memory>
#include <optional>

#include "command.hpp"
#include "core/limits.hpp"
#include "emulator/worker.hpp"
#include "recorded.hpp"
#include "serving.hpp"

namespace moesaic::app {
namespace {

Status emulate(Context& context, const std::string& path) {
  MOESAIC_ASSIGN(const std::string yaml, io::read_file(context.files, path, limits::kMaxConfigBytes));
  MOESAIC_ASSIGN(emulator::WorkerConfig config, emulator::read_worker_config(yaml, path));
  std::optional<simulate::Recording> recording;
  if (!config.trace.empty()) {
    MOESAIC_ASSIGN(recording, read_recorded(context, config.trace, config.trace_requests));
  }
  net::Loop loop;
  const std::string name = config.engine_id, address = config.address;
  const std::string role(to_string(config.role));
  const bool tls = !config.certificate.empty();
  MOESAIC_ASSIGN(const std::unique_ptr<emulator::Worker> worker,
                 emulator::Worker::start(loop, std::move(config), recording ? &*recording : nullptr));
  loop.on_signals({SIGTERM, SIGINT}, [&loop](int) { loop.stop(); });
  fmt::print("{}: emulated {} engine on {}://{}:{}\n", name, role, tls ? "https" : "http", address,
             worker->port());
  std::fflush(stdout);
  loop.run();
  loop.drop_tasks();  // requests that still run refer to the worker
  return {};
}

}  // namespace

void add_emulate(CLI::App& app, Context& context) {
  CLI::App* command =
      app.add_subcommand("emulate", "Stand in for an inference engine: strict, timed, fallible");
  const auto path = std::make_shared<std::string>();
  command->add_option("config", *path, "worker.yaml; docs/emulate.md lists its keys")->required();
  run_when_chosen(*command, context, [&context, path] { return emulate(context, *path); });
}

}  // namespace moesaic::app
