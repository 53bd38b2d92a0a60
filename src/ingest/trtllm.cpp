// trtllm-statistics: the folder TensorRT-LLM's examples/wide_ep/ep_load_balancer collects: meta_info.json
// {num_experts, num_experts_per_token} and rank<r>.safetensors of "<iteration>_<layer>" -> counts [E], which
// are summed over ranks. Newer rank<r>_raw.safetensors hold ids [tokens, k] under the same keys; where they
// are, they are imported instead, as tokens without requests.
#include <fmt/format.h>

#include <charconv>
#include <map>
#include <set>

#include "core/limits.hpp"
#include "ingest/count_table.hpp"
#include "ingest/expert_array.hpp"
#include "ingest/formats.hpp"
#include "io/json.hpp"
#include "io/memory_file.hpp"
#include "io/safetensors.hpp"

namespace moesaic::ingest {
namespace {

bool takes(std::string_view name) {
  return name == "meta_info.json" || (name.starts_with("rank") && name.ends_with(".safetensors"));
}

bool detect(std::string_view name, std::string_view head) {
  return name == "meta_info.json" && head.find("\"num_experts_per_token\"") != std::string_view::npos;
}

struct Key {
  std::uint32_t iteration = 0;
  std::uint16_t layer = 0;
};

Result<Key> parse_key(const std::string& name, const std::string& where) {
  Key key;
  const char* end = name.data() + name.size();
  const auto [middle, bad_iteration] = std::from_chars(name.data(), end, key.iteration);
  const bool bar = bad_iteration == std::errc{} && middle != end && *middle == '_';
  const auto [after, bad_layer] = std::from_chars(bar ? middle + 1 : end, end, key.layer);
  if (!bar || bad_layer != std::errc{} || after != end || key.layer >= limits::kMaxLayers) {
    return bad_input(
        fmt::format("{}: tensor \"{:.80}\", expected names \"<iteration>_<layer>\"", where, name));
  }
  return key;
}

class Reader {
 public:
  explicit Reader(ImportContext& context) : context_(context) {}

  Status run() {
    std::vector<Document> counts, raw;
    std::string first;
    bool meta = false;
    for (;;) {
      MOESAIC_ASSIGN(std::optional<Document> document, context_.documents.next());
      if (!document) break;
      if (first.empty()) first = document->path;
      if (document->name == "meta_info.json") {
        MOESAIC_TRY(read_meta(*document));
        meta = true;
      } else {
        (document->name.ends_with("_raw.safetensors") ? raw : counts).push_back(std::move(*document));
      }
    }
    if (!meta) return bad_input(fmt::format("{}: no meta_info.json beside it", first));
    if (counts.empty() && raw.empty())
      return bad_input(fmt::format("{}: no rank*.safetensors beside it", first));
    if (raw.empty()) return import_counts(counts);
    if (!counts.empty()) {
      context_.output.anomalies().add(
          "dropped", "Files of counts were left out, because the tokens themselves are there.",
          counts.size());
    }
    return import_tokens(raw);
  }

 private:
  Status read_meta(Document& document) {
    MOESAIC_TRY(context_.documents.load(document));
    MOESAIC_ASSIGN(const Json json, io::parse_json(document.bytes, document.path));
    const auto number = [&](const char* key, std::size_t most, std::size_t& out) -> Status {
      const Json* value = json.find(key);
      std::uint64_t n = 0;
      if (value == nullptr || !value->to_uint(n) || n == 0 || n > most) {
        return bad_input(fmt::format("{}: {} is {}, expected 1 to {}", document.path, key,
                                     value == nullptr ? "missing" : value->dump(), most));
      }
      if (out != 0 && out != n) {
        return bad_input(fmt::format("{}: {} is {}, but {} in the folder before; import one model at a time",
                                     document.path, key, n, out));
      }
      out = static_cast<std::size_t>(n);
      return {};
    };
    MOESAIC_TRY(number("num_experts", limits::kMaxExperts, experts_));
    return number("num_experts_per_token", limits::kMaxTopK, top_k_);
  }

  Status import_counts(std::vector<Document>& documents) {
    std::map<std::uint32_t, std::map<std::uint16_t, std::vector<double>>> sums;  // iteration, layer -> [E]
    for (Document& document : documents) {
      MOESAIC_TRY(context_.documents.load(document));
      const io::MemoryFile file(io::as_bytes(document.bytes));
      MOESAIC_ASSIGN(const io::Safetensors tensors, io::Safetensors::open(file, document.path));
      for (const io::SafetensorsEntry& entry : tensors.entries()) {
        MOESAIC_ASSIGN(const Key key, parse_key(entry.name, document.path));
        if (entry.shape != std::vector<std::uint64_t>{experts_}) {
          return bad_input(
              fmt::format("{}: tensor \"{}\" has {} dimensions or another length, expected [{}] as "
                          "meta_info.json says",
                          document.path, entry.name, entry.shape.size(), experts_));
        }
        MOESAIC_ASSIGN(const io::Array array, tensors.read(entry));
        MOESAIC_ASSIGN(const std::vector<double> counts,
                       to_counts(array, false, fmt::format("{}: tensor \"{}\"", document.path, entry.name)));
        std::vector<double>& sum = sums[key.iteration][key.layer];
        sum.resize(experts_, 0.0);
        for (std::size_t e = 0; e < experts_; ++e) sum[e] += counts[e];
      }
      document.bytes = std::string();
    }
    return write_counts(documents.front(), sums);
  }

  Status write_counts(const Document& first,
                      const std::map<std::uint32_t, std::map<std::uint16_t, std::vector<double>>>& sums) {
    CountTable table;
    CountPlanes planes{.planes = {}, .layers_known = true, .experts = experts_, .top_k = top_k_};
    for (const auto& [iteration, layers] : sums) {
      std::vector<LayerId> here;
      std::vector<double> row;
      for (const auto& [layer, counts] : layers) {
        here.push_back(LayerId(layer));
        row.insert(row.end(), counts.begin(), counts.end());
      }
      if (planes.planes.empty()) {
        planes.planes = here;
        MOESAIC_TRY(table.expect(planes, first.path));
      } else if (here != planes.planes) {
        return bad_input(
            fmt::format("{}: iteration {} does not have the same {} layers as the first; the dump is not "
                        "whole",
                        first.path, iteration, planes.planes.size()));
      }
      trace::CountRow record;
      record.window = static_cast<std::uint32_t>(table.rows());
      MOESAIC_ASSIGN(record.domain, table.domain(first.folder));
      table.add(record, row);
    }
    return table.write(context_.output, first.path);
  }

  Status import_tokens(std::vector<Document>& documents) {
    for (Document& document : documents) {
      MOESAIC_TRY(context_.documents.load(document));
      const io::MemoryFile file(io::as_bytes(document.bytes));
      MOESAIC_ASSIGN(const io::Safetensors tensors, io::Safetensors::open(file, document.path));
      std::map<std::uint32_t, std::map<std::uint16_t, const io::SafetensorsEntry*>> iterations;
      std::set<std::uint16_t> layers;
      for (const io::SafetensorsEntry& entry : tensors.entries()) {
        MOESAIC_ASSIGN(const Key key, parse_key(entry.name, document.path));
        iterations[key.iteration][key.layer] = &entry;
        layers.insert(key.layer);
      }
      if (!context_.output.is_open()) MOESAIC_TRY(open(document, layers));
      for (const auto& [iteration, parts] : iterations) {
        MOESAIC_TRY(add_iteration(document, tensors, iteration, parts));
      }
      document.bytes = std::string();
    }
    if (!context_.output.is_open())
      return bad_input(fmt::format("{}: holds no tensors", documents.front().path));
    return context_.output.finish_tokens();
  }

  Status open(const Document& document, const std::set<std::uint16_t>& layers) {
    if (layers.empty()) return {};
    ModelShape seen{.model = {}, .model_layers = 0, .layers = {}, .experts = experts_, .top_k = top_k_};
    for (const std::uint16_t layer : layers) seen.layers.push_back(LayerId(layer));
    MOESAIC_ASSIGN(shape_, context_.output.settle_shape(seen, true, document.path));
    return context_.output.open_tokens(shape_);
  }

  Status add_iteration(const Document& document, const io::Safetensors& tensors, std::uint32_t iteration,
                       const std::map<std::uint16_t, const io::SafetensorsEntry*>& parts) {
    const std::string where = fmt::format("{}: iteration {}", document.path, iteration);
    const std::uint64_t tokens = parts.begin()->second->shape.empty() ? 0 : parts.begin()->second->shape[0];
    const std::size_t width = shape_.layers.size() * top_k_;
    std::vector<ExpertId> experts;
    if (parts.size() != shape_.layers.size()) {
      return bad_input(fmt::format("{}: {} layers, expected {} as before; the dump is not whole", where,
                                   parts.size(), shape_.layers.size()));
    }
    std::size_t row = 0;
    for (const auto& [layer, entry] : parts) {
      if (shape_.layers[row] != LayerId(layer) ||
          entry->shape != std::vector<std::uint64_t>{tokens, top_k_}) {
        return bad_input(fmt::format("{}: layer {} is not expected or has another shape than [{}, {}]", where,
                                     layer, tokens, top_k_));
      }
      MOESAIC_ASSIGN(const io::Array array, tensors.read(*entry));
      MOESAIC_ASSIGN(const std::vector<ExpertId> ids,
                     to_experts(array, fmt::format("{}: layer {}", where, layer)));
      experts.resize(static_cast<std::size_t>(tokens) * width, kMissingExpert);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        experts[i / top_k_ * width + row * top_k_ + i % top_k_] = ids[i];
      }
      ++row;
    }
    if (tokens == 0) return {};
    context_.output.anomalies().add("anonymous", "Tokens of raw statistics have no request.", tokens);
    return context_.output.add_anonymous(where, tokens, experts);
  }

  ImportContext& context_;
  std::size_t experts_ = 0, top_k_ = 0;
  ModelShape shape_;
};

Status run(ImportContext& context) { return Reader(context).run(); }

}  // namespace

constinit const Importer kTrtllmStatistics{
    .name = "trtllm-statistics",
    .what =
        "TensorRT-LLM ep_load_balancer statistics: meta_info.json and rank*.safetensors, counts or raw ids",
    .takes = takes,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
