#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include "command.hpp"
#include "report/table.hpp"
#include "trace/inspect.hpp"
#include "trace/trace.hpp"

namespace moesaic::app {
namespace {

struct Options {
  std::string path, json;
  bool verify = false;
};

struct DomainTotals {
  std::uint64_t requests = 0, prefill = 0, decode = 0;
};

/// One entry a domain, in the order of the store's labels.
std::vector<DomainTotals> domain_totals(const trace::RequestTable& requests) {
  std::vector<DomainTotals> totals(requests.domains.size());
  for (std::size_t r = 0; r < requests.size(); ++r) {
    DomainTotals& domain = totals[requests.domain[r]];
    ++domain.requests;
    domain.prefill += requests.prefill_tokens[r];
    domain.decode += requests.decode_tokens[r];
  }
  return totals;
}

/// "1, 3, ..., 47" for evenly spaced ids, else all of them.
std::string layer_list(const std::vector<LayerId>& layers) {
  if (layers.size() > 3) {
    const std::size_t step = index(layers[1]) - index(layers[0]);
    bool even = true;
    for (std::size_t i = 1; i < layers.size(); ++i)
      even = even && index(layers[i]) - index(layers[i - 1]) == step;
    if (even) return fmt::format("{}, {}, ..., {}", index(layers[0]), index(layers[1]), index(layers.back()));
  }
  std::string text;
  for (const LayerId layer : layers) text += fmt::format("{}{}", text.empty() ? "" : ", ", index(layer));
  return text;
}

Json to_json(const trace::Trace& trace, double bits, const std::vector<DomainTotals>& totals) {
  const ModelShape& shape = trace.shape();
  Json json;
  json["schema"] = "moesaic.info/1";
  json["kind"] = trace.kind() == trace::Kind::kTokens ? "tokens" : "counts";
  json["model"] = shape.model;
  json["model_layers"] = shape.model_layers;
  json["layers"] = Json(Json::Array{});
  for (const LayerId layer : shape.layers) json["layers"].push_back(index(layer));
  json["experts"] = shape.experts;
  json["top_k"] = shape.top_k;
  json["requests"] = trace.requests().size();
  json["digest"] = trace.digest();
  json["bits_per_value"] = bits;
  json["format"] = trace.provenance().format;
  std::uint64_t prefill = 0, decode = 0;
  json["domains"] = Json(Json::Object{});
  for (std::size_t d = 0; d < totals.size(); ++d) {
    prefill += totals[d].prefill;
    decode += totals[d].decode;
    Json entry;
    entry["requests"] = totals[d].requests;
    entry["prefill_tokens"] = totals[d].prefill;
    entry["decode_tokens"] = totals[d].decode;
    json["domains"][trace.requests().domains[d]] = std::move(entry);
  }
  if (trace.kind() == trace::Kind::kTokens) {
    json["tokens"] = trace.tokens();
    json["prefill_tokens"] = prefill;
    json["decode_tokens"] = decode;
    json["anonymous_tokens"] = trace.tokens() - prefill - decode;
    json["order"] = trace.order() == trace::IdOrder::kSet ? "set" : "score";
    json["weights"] = trace.has_weights();
  } else {
    json["rows"] = trace.count_rows().size();
    json["unit"] = trace.count_unit() == trace::CountUnit::kTokens ? "tokens" : "share";
  }
  json["anomalies"] = Json(Json::Array{});
  for (const trace::Anomaly& anomaly : trace.provenance().anomalies) {
    Json entry;
    entry["kind"] = anomaly.kind;
    entry["what"] = anomaly.what;
    entry["count"] = anomaly.count;
    json["anomalies"].push_back(std::move(entry));
  }
  return json;
}

void print(const trace::Trace& trace, double bits, const std::vector<DomainTotals>& totals) {
  using report::with_commas;
  const ModelShape& shape = trace.shape();
  fmt::print("{}: {}, from {}\n", trace.path(), shape.model.empty() ? "model not named" : shape.model,
             trace.provenance().format.empty() ? "an unnamed source" : trace.provenance().format);
  fmt::print("  {} MoE layers ({}) of {}, {} experts, {} a token\n", shape.layers.size(),
             layer_list(shape.layers), shape.model_layers, shape.experts, shape.top_k);
  DomainTotals all;
  for (const DomainTotals& domain : totals) {
    all.requests += domain.requests;
    all.prefill += domain.prefill;
    all.decode += domain.decode;
  }
  if (trace.kind() == trace::Kind::kTokens) {
    fmt::print("  {} requests, {} tokens: {} prefill, {} decode, {} without a request\n",
               with_commas(all.requests), with_commas(trace.tokens()), with_commas(all.prefill),
               with_commas(all.decode), with_commas(trace.tokens() - all.prefill - all.decode));
    fmt::print("  {:.3f} bits an activation, ids in {} order{}\n", bits,
               trace.order() == trace::IdOrder::kSet ? "ascending" : "the source's",
               trace.has_weights() ? ", with router weights" : "");
  } else {
    fmt::print("  {} rows of counts ({}), {} requests, {:.3f} bits a count\n",
               with_commas(trace.count_rows().size()),
               trace.count_unit() == trace::CountUnit::kTokens ? "tokens" : "shares",
               with_commas(all.requests), bits);
  }
  fmt::print("  digest {}\n", trace.digest());
  if (all.requests > 0) {
    report::Table table({"domain", "requests", "prefill tokens", "decode tokens"});
    for (std::size_t d = 0; d < totals.size(); ++d) {
      const std::string& name = trace.requests().domains[d];
      table.add({name.empty() ? "(none)" : name, with_commas(totals[d].requests),
                 with_commas(totals[d].prefill), with_commas(totals[d].decode)});
    }
    fmt::print("\n{}", table.text());
  }
  for (const trace::Anomaly& anomaly : trace.provenance().anomalies) {
    fmt::print("{}: {} ({})\n", anomaly.kind, anomaly.what, with_commas(anomaly.count));
  }
}

Status info(Context& context, const Options& options) {
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(context.files, options.path));
  MOESAIC_ASSIGN(const std::uint64_t bytes, trace::data_bytes(context.files, trace));
  const ModelShape& shape = trace.shape();
  const double layers = static_cast<double>(shape.layers.size());
  const double values =
      trace.kind() == trace::Kind::kTokens
          ? static_cast<double>(trace.tokens()) * layers * static_cast<double>(shape.top_k)
          : static_cast<double>(trace.count_rows().size()) * layers * static_cast<double>(shape.experts);
  const double bits = values > 0 ? 8 * static_cast<double>(bytes) / values : 0;
  const std::vector<DomainTotals> totals = domain_totals(trace.requests());
  Json json = to_json(trace, bits, totals);
  if (options.json != "-") print(trace, bits, totals);
  if (options.verify) {
    MOESAIC_ASSIGN(const trace::Verification verified, trace::verify(context.files, trace));
    json["verified"]["values"] = verified.values;
    json["verified"]["missing"] = verified.missing;
    json["verified"]["repeated"] = verified.repeated;
    if (options.json != "-") {
      fmt::print(
          "verified: {} values read, {} missing, {} repeated in a token; checksums and digest are right\n",
          report::with_commas(verified.values), report::with_commas(verified.missing),
          report::with_commas(verified.repeated));
    }
  }
  return write_json(context, options.json, json);
}

}  // namespace

void add_info(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("info", "Tell what a trace store holds, and check that it is whole");
  const auto options = std::make_shared<Options>();
  command->add_option("store", options->path, "Folder that `moesaic import` wrote")->required();
  command->add_flag("--verify", options->verify, "Read every chunk: checksums, ids, order, digest");
  command->add_option("--json", options->json, "Write the same as JSON to this file, \"-\" = stdout");
  run_when_chosen(*command, context, [&context, options] { return info(context, *options); });
}

}  // namespace moesaic::app
