#include "import_summary.hpp"

#include <fmt/format.h>

#include "cost/model_preset.hpp"
#include "cost/model_yaml.hpp"
#include "report/table.hpp"

namespace moesaic::app {
namespace {

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

}  // namespace

Result<ModelShape> model_shape(Context& context, const std::string& model) {
  MOESAIC_ASSIGN(cost::ModelPreset preset, cost::named_model(context.files, model));
  return std::move(preset.shape);
}

std::optional<ModelShape> shape_of_path(std::string_view path) {
  const cost::ModelPreset* preset = cost::preset_for_folder(path);
  if (preset == nullptr) return std::nullopt;
  return preset->shape;
}

void print_import(const ingest::ImportSummary& summary, const std::string& output) {
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

Json import_json(const ingest::ImportSummary& summary, const std::string& output) {
  Json out;
  out["schema"] = "moesaic.import/1";
  out["store"] = output;
  out["format"] = summary.format;
  out["kind"] = summary.kind == trace::Kind::kTokens ? "tokens" : "counts";
  out["model"] = summary.shape.model;
  out["model_layers"] = summary.shape.model_layers;
  Json::Array layers;
  for (const LayerId layer : summary.shape.layers) layers.push_back(index(layer));
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

}  // namespace moesaic::app
