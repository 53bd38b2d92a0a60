// moesaic import: foreign traces into a store.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <memory>

#include "command.hpp"
#include "core/limits.hpp"
#include "cost/model_preset.hpp"
#include "cost/model_yaml.hpp"
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

/// A preset by name, or a model from a YAML file.
Result<ModelShape> model_shape(Context& context, const std::string& model) {
  if (model.ends_with(".yaml") || model.ends_with(".yml")) {
    MOESAIC_ASSIGN(const std::string text, io::read_file(context.files, model, limits::kMaxConfigBytes));
    MOESAIC_ASSIGN(const cost::ModelPreset preset, cost::read_model(text, model));
    return preset.shape;
  }
  MOESAIC_ASSIGN(const cost::ModelPreset* preset, cost::find_preset(model));
  return preset->shape;
}

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

std::optional<ModelShape> shape_of_path(std::string_view path) {
  const cost::ModelPreset* preset = cost::preset_for_folder(path);
  if (preset == nullptr) return std::nullopt;
  return preset->shape;
}

/// "1-47 step 2", "3-60", "0, 2, 7".
std::string layer_list(const std::vector<LayerId>& layers) {
  if (layers.size() < 3)
    return layers.size() == 1 ? fmt::format("{}", index(layers[0]))
                              : fmt::format("{}, {}", index(layers[0]), index(layers[1]));
  const std::size_t step = index(layers[1]) - index(layers[0]);
  std::vector<std::size_t> ids;
  bool even = true;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    ids.push_back(index(layers[i]));
    even = even && ids[i] == ids[0] + i * step;
  }
  if (!even) return fmt::format("{}", fmt::join(ids, ", "));
  return fmt::format("{}-{}{}", ids.front(), ids.back(), step == 1 ? "" : fmt::format(" step {}", step));
}

std::string domain_list(const std::vector<std::string>& domains) {
  constexpr std::size_t kShown = 6;
  std::vector<std::string> names;
  for (const std::string& domain : domains) names.push_back(domain.empty() ? "(none)" : domain);
  const bool more = names.size() > kShown;
  if (more) names.resize(kShown);
  return fmt::format("{}: {}{}", domains.size(), fmt::join(names, ", "), more ? ", ..." : "");
}

void print(const ingest::ImportSummary& summary, const std::string& output) {
  report::Table table({"what", "imported"});
  table.add({"store", output});
  table.add({"format", summary.format});
  table.add({"model", summary.shape.model.empty() ? "(not known)" : summary.shape.model});
  table.add(
      {"MoE layers", fmt::format("{}: {}", summary.shape.layers.size(), layer_list(summary.shape.layers))});
  table.add({"experts a layer", fmt::format("{}", summary.shape.experts)});
  table.add({"experts a token", fmt::format("{}", summary.shape.top_k)});
  table.add({"files", report::with_commas(summary.documents)});
  table.add({"requests", report::with_commas(summary.requests)});
  if (summary.kind == trace::Kind::kCounts)
    table.add({"count rows", report::with_commas(summary.count_rows)});
  table.add({"tokens", summary.tokens == 0 ? "(not known)" : report::with_commas(summary.tokens)});
  table.add({"domains", domain_list(summary.domains)});
  fmt::print("{}", table.text());
  for (const trace::Anomaly& anomaly : summary.anomalies) {
    fmt::print("{} ({}): {}\n", anomaly.kind, report::with_commas(anomaly.count), anomaly.what);
  }
}

Json to_json(const ingest::ImportSummary& summary, const std::string& output) {
  Json out;
  out["schema"] = "moesaic.import/1";
  out["store"] = output;
  out["format"] = summary.format;
  out["kind"] = summary.kind == trace::Kind::kTokens ? "tokens" : "counts";
  out["model"] = summary.shape.model;
  out["model_layers"] = summary.shape.model_layers;
  Json::Array layers;
  for (LayerId layer : summary.shape.layers) layers.push_back(index(layer));
  out["layers"] = std::move(layers);
  out["experts"] = summary.shape.experts;
  out["top_k"] = summary.shape.top_k;
  out["documents"] = summary.documents;
  out["requests"] = summary.requests;
  out["tokens"] = summary.tokens;
  out["count_rows"] = summary.count_rows;
  Json::Array domains;
  for (const std::string& domain : summary.domains) domains.push_back(domain);
  out["domains"] = std::move(domains);
  Json::Array anomalies;
  for (const trace::Anomaly& anomaly : summary.anomalies) {
    Json one;
    one["kind"] = anomaly.kind;
    one["what"] = anomaly.what;
    one["count"] = anomaly.count;
    anomalies.push_back(std::move(one));
  }
  out["anomalies"] = std::move(anomalies);
  return out;
}

Status run(Context& context, const Arguments& arguments) {
  ThreadPool pool(arguments.threads);
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
  options.pool = &pool;
  options.progress = [](const ingest::Progress& done) {
    progress(fmt::format("{} files, {}, {} tokens", report::with_commas(done.documents),
                         report::bytes(static_cast<double>(done.bytes)), report::with_commas(done.tokens)));
  };
  MOESAIC_ASSIGN(const ingest::ImportSummary summary,
                 ingest::import_trace(context.files, arguments.sources, options));
  progress_done();
  print(summary, arguments.output);
  return write_json(context, arguments.json, to_json(summary, arguments.output));
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
