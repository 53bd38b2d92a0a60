// moesaic import: foreign traces into a store.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <memory>

#include "command.hpp"
#include "core/limits.hpp"
#include "import_summary.hpp"
#include "ingest/importer.hpp"
#include "report/table.hpp"

namespace moesaic::app {
namespace {

struct Arguments {
  std::vector<std::string> sources;
  std::string output, format, model, shape, domain, domain_key, axes, json;
  std::size_t threads = 0;
  bool force = false;
};

/// "L,E,k": planes of the source, experts a layer, experts a token; which layers is not known.
Result<ModelShape> plain_shape(const std::string& text) {
  std::size_t numbers[3] = {};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t i = 0; i < 3; ++i) {
    const auto [next, error] = std::from_chars(at, end, numbers[i]);
    const bool separated = i == 2 ? next == end : next != end && *next == ',';
    if (error != std::errc() || !separated || numbers[i] == 0) {
      return bad_input(
          fmt::format("--shape {}: expected layers,experts,experts-a-token, such as 48,128,8", text));
    }
    at = next + (i == 2 ? 0 : 1);
  }
  ModelShape out;
  out.model = text;
  out.model_layers = numbers[0];
  out.experts = numbers[1];
  out.top_k = numbers[2];
  if (numbers[0] > limits::kMaxLayers || numbers[1] > limits::kMaxExperts || numbers[2] > limits::kMaxTopK) {
    return bad_input(fmt::format("--shape {}: expected at most {},{},{}", text, limits::kMaxLayers,
                                 limits::kMaxExperts, limits::kMaxTopK));
  }
  return out;
}

Result<ingest::ImportOptions> options_of(Context& context, const Arguments& arguments) {
  ingest::ImportOptions options;
  options.output = arguments.output;
  options.format = arguments.format;
  if (!arguments.model.empty()) {
    MOESAIC_ASSIGN(options.shape, model_shape(context, arguments.model));
  } else if (!arguments.shape.empty()) {
    MOESAIC_ASSIGN(options.shape, plain_shape(arguments.shape));
  }
  options.shape_by_path = shape_of_path;
  options.domain = arguments.domain;
  options.domain_key = arguments.domain_key;
  options.axes = arguments.axes;
  options.force = arguments.force;
  options.comm = &context.comm;
  options.progress = [](const ingest::Progress& done) {
    progress(fmt::format("{} files, {}, {} tokens", report::with_commas(done.documents),
                         report::bytes(static_cast<double>(done.bytes)), report::with_commas(done.tokens)));
  };
  return options;
}

Status run(Context& context, const Arguments& arguments) {
  Result<ingest::ImportOptions> options = options_of(context, arguments);
  MOESAIC_TRY(comm::agree(context.comm, options));
  ThreadPool pool(arguments.threads);
  options->pool = &pool;
  MOESAIC_ASSIGN(const ingest::ImportSummary summary,
                 ingest::import_trace(context.files, arguments.sources, *options));
  progress_done();
  if (!context.comm.is_root()) return {};
  if (context.comm.size() > 1 && !summary.shared) {
    fmt::print(stderr, "note: one rank read these sources; ranks share those of moe-trace and of replies\n");
  }
  print_import(summary, arguments.output);
  return write_json(context, arguments.json, import_json(summary, arguments.output));
}

std::string formats_help() {
  std::string out = "Formats:\n";
  for (const ingest::Importer* importer : ingest::importers()) {
    out += fmt::format("  {:<22} {}\n", importer->name, importer->what);
  }
  return out;
}

}  // namespace

void add_import(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("import", "Read routing dumps of an engine into a trace store");
  command->footer(formats_help());
  auto arguments = std::make_shared<Arguments>();
  command
      ->add_option("sources", arguments->sources,
                   "Files, folders (walked in bytewise order) or archives (.tar.xz, .tar.zst, .tar.gz, .zip)")
      ->required()
      ->type_name("SOURCE");
  command->add_option("-o,--output", arguments->output, "The store to write")->required()->type_name("T");
  command->add_option("--format", arguments->format, "Format of the sources; recognised by default")
      ->type_name("NAME");
  CLI::Option* model =
      command->add_option("--model", arguments->model, "Model preset, or a YAML file with one")
          ->type_name("M");
  command
      ->add_option("--shape", arguments->shape,
                   "Layers, experts and experts a token, where there is no preset")
      ->type_name("L,E,K")
      ->excludes(model);
  command->add_option("--domain", arguments->domain, "Label of every request; by default the folder's name");
  command->add_option("--domain-key", arguments->domain_key,
                      "Key of an index that holds the labels, such as topic");
  command->add_option("--axes", arguments->axes, "Axes of a 3-D array: tlk, wle or rle");
  command->add_option("--threads", arguments->threads, "Threads; 0 = as many as cores");
  command->add_flag("--force", arguments->force, "Replace an existing store");
  command->add_option("--json", arguments->json, "Write the summary as JSON")->type_name("FILE");
  run_when_chosen(*command, context, [&context, arguments] { return run(context, *arguments); });
}

}  // namespace moesaic::app
