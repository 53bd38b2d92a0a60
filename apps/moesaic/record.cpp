// moesaic record: SGLang's expert distribution recorder, driven over HTTP, its dump imported.
#include <fmt/format.h>

#include <csignal>
#include <map>
#include <memory>
#include <utility>

#include "command.hpp"
#include "gateway/config.hpp"
#include "import_summary.hpp"
#include "ingest/importer.hpp"
#include "net/http_client.hpp"
#include "serving.hpp"

namespace moesaic::app {
namespace {

using namespace std::chrono_literals;

struct Arguments {
  std::string url, folder, output, model, domain, json;
  double seconds = 60, patience = 120;
  bool force = false;
};

/// Sizes of the recorder's dumps in the folder, by path.
Result<std::map<std::string, std::uint64_t>> dumps(Context& context, const std::string& folder) {
  MOESAIC_ASSIGN(const std::vector<std::string> names, context.files.list(folder));
  std::map<std::string, std::uint64_t> out;
  for (const std::string& name : names) {
    if (!name.starts_with("expert_distribution_recorder") || !name.ends_with(".pt")) continue;
    const std::string path = fmt::format("{}/{}", folder, name);
    const Result<io::FileStatus> status = context.files.status(path);
    if (status) out[path] = status->size;  // one that went away meanwhile is none
  }
  return out;
}

/// Drives the recorder; what it found stays here.
struct Session {
  Context& context;
  const Arguments& arguments;
  net::Loop& loop;
  net::HttpPool pool;
  net::Event enough{loop};
  Status status{};
  std::vector<std::string> files{};

  net::Task<Status> tell(std::string verb) {
    const std::string target = fmt::format("/{}_expert_distribution_record", verb);
    const Result<net::HttpAnswer> answer =
        co_await net::fetch(loop, pool, "POST", target, {}, "", Nanoseconds(120s), 1 << 20);
    if (!answer) co_return tl::unexpected(answer.error());
    if (answer->head.status != 200) {
      co_return environment_error(
          fmt::format("POST {}{}: the engine answers {}: \"{}\"; expected 200: start it with "
                      "--expert-distribution-recorder-mode",
                      arguments.url, target, answer->head.status, answer->body.substr(0, 200)));
    }
    co_return Status();
  }

  /// New dumps, once none of them grows any more: the engine answers before its ranks have written.
  net::Task<Status> find(std::map<std::string, std::uint64_t> before) {
    std::map<std::string, std::uint64_t> last;
    const Nanoseconds until = loop.now() + Nanoseconds(static_cast<std::int64_t>(arguments.patience * 1e9));
    while (loop.now() < until) {
      Result<std::map<std::string, std::uint64_t>> now = dumps(context, arguments.folder);
      if (!now) co_return tl::unexpected(now.error());
      std::erase_if(*now, [&](const auto& entry) {
        const auto old = before.find(entry.first);
        return old != before.end() && old->second == entry.second;
      });
      if (!now->empty() && *now == last) {
        for (const auto& [path, size] : last) files.push_back(path);
        co_return Status();
      }
      last = std::move(*now);
      co_await loop.sleep(Nanoseconds(500ms));
    }
    co_return environment_error(fmt::format(
        "{}: no new expert_distribution_recorder*.pt within {:g} s of the dump: expected the engine's "
        "SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR (its default is /tmp), seen from here",
        arguments.folder, arguments.patience));
  }

  net::Task<void> run() {
    const Result<std::map<std::string, std::uint64_t>> before = dumps(context, arguments.folder);
    if (!before) {
      status = tl::unexpected(before.error());
    } else {
      status = co_await tell("start");
      if (status) {
        net::Timer timer(loop, [this] { enough.set(); });
        timer.set(loop.now() + Nanoseconds(static_cast<std::int64_t>(arguments.seconds * 1e9)));
        progress(fmt::format("recording for {:g} s; Ctrl-C ends it sooner", arguments.seconds));
        co_await enough.wait();
        progress_done();
        status = co_await tell("stop");
      }
      if (status) status = co_await tell("dump");
      if (status) status = co_await find(*before);
    }
    loop.stop();
  }
};

Status run(Context& context, const Arguments& arguments) {
  gateway::WorkerSpec engine;
  bool tls = false;
  MOESAIC_TRY(gateway::parse_url(arguments.url, engine.host, engine.port, tls));
  if (tls) engine.tls.emplace();
  MOESAIC_ASSIGN(std::optional<net::TlsPeer> peer, gateway::tls_peer(engine.tls, engine.host));
  MOESAIC_TRY(refuse_existing(context, arguments.output, arguments.force));
  ingest::ImportOptions options;
  if (!arguments.model.empty()) {
    MOESAIC_ASSIGN(options.shape, model_shape(context, arguments.model));
  }
  net::Loop loop;
  Session session{
      .context = context,
      .arguments = arguments,
      .loop = loop,
      .pool = net::HttpPool(loop, engine.host, engine.port, net::ClientOptions{}, std::move(peer))};
  loop.on_signals({SIGINT, SIGTERM}, [&session](int) { session.enough.set(); });
  loop.spawn(session.run());
  loop.run();
  MOESAIC_TRY(session.status);
  ThreadPool pool;
  options.output = arguments.output;
  options.shape_by_path = shape_of_path;
  options.domain = arguments.domain;
  options.force = arguments.force;
  options.pool = &pool;
  MOESAIC_ASSIGN(const ingest::ImportSummary summary,
                 ingest::import_trace(context.files, session.files, options));
  print_import(summary, arguments.output);
  return write_json(context, arguments.json, import_json(summary, arguments.output));
}

}  // namespace

void add_record(CLI::App& app, Context& context) {
  CLI::App* command =
      app.add_subcommand("record", "Record an SGLang engine's expert distribution into a trace store");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("url", arguments->url, "The engine, http://HOST:PORT or https")
      ->required()
      ->type_name("URL");
  command
      ->add_option("--folder", arguments->folder,
                   "Where the engine dumps (SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR), seen from here")
      ->required()
      ->type_name("FOLDER");
  command->add_option("-o,--output", arguments->output, "The store to write")->required()->type_name("T");
  command->add_option("--seconds", arguments->seconds, "How long to record; Ctrl-C ends it sooner")
      ->check(CLI::Range(0.0, 1e7))
      ->capture_default_str();
  command->add_option("--patience", arguments->patience, "Seconds to wait for the dump's files")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->add_option("--model", arguments->model, "Model preset, or a YAML file with one")->type_name("M");
  command->add_option("--domain", arguments->domain, "Label of what was served meanwhile");
  command->add_flag("--force", arguments->force, "Replace an existing store");
  command->add_option("--json", arguments->json, "Write the summary as JSON")->type_name("FILE");
  run_when_chosen(*command, context, [&context, arguments] { return run(context, *arguments); });
}

}  // namespace moesaic::app
