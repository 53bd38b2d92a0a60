// vllm-eplb: JSON lines of vLLM's offline EPLB (vllm pull request 41141, not merged when read). One
// eplb_load_meta record, then eplb_load_stats {step, expert_load [L][P], p2l_map [L][P]}: loads are per
// physical slot and become logical through the map. A record is a row and a window.
#include <fmt/format.h>

#include "core/limits.hpp"
#include "ingest/count_json.hpp"
#include "ingest/count_table.hpp"
#include "ingest/formats.hpp"
#include "ingest/json_text.hpp"
#include "io/json.hpp"
#include "io/text_lines.hpp"

namespace moesaic::ingest {
namespace {

bool takes(std::string_view name) { return is_lines(name) || name.ends_with(".json"); }

bool detect(std::string_view, std::string_view head) {
  return has_key(head, "record_type") &&
         (head.find("eplb_load_meta") != head.npos || head.find("eplb_load_stats") != head.npos);
}

/// Loads [L, P] of one record with the map that was in force.
struct Record {
  CountMatrix load, map;
};

class Reader {
 public:
  explicit Reader(ImportContext& context) : context_(context) {}

  Status run() {
    std::string first;
    while (true) {
      MOESAIC_ASSIGN(std::optional<Document> document, context_.documents.next());
      if (!document) break;
      if (first.empty()) first = document->path;
      MOESAIC_TRY(context_.documents.load(*document));
      MOESAIC_TRY(read(*document));
    }
    if (last_map_.slots > 0) context_.output.note_engine_map(std::move(last_map_));
    return table_.write(context_.output, first);
  }

 private:
  Status read(const Document& document) {
    meta_seen_ = false;
    window_ = 0;
    io::TextLines lines(document.bytes);
    while (const auto line = lines.next()) {
      const std::string_view one = line->text;
      const std::string where = fmt::format("{}: line {}", document.path, line->number);
      if (one.size() > limits::kMaxConfigBytes) {
        return bad_input(fmt::format("{}: {} bytes, expected at most {} for one record", where, one.size(),
                                     limits::kMaxConfigBytes));
      }
      Result<Json> json = io::parse_json(one, where);
      if (!json && line->cut && line->number > 1) {
        context_.output.anomalies().add(
            "dropped",
            "A last line that is cut short, as a killed server leaves it, was left out of each file.");
        return {};
      }
      if (!json) return tl::unexpected(std::move(json).error());
      MOESAIC_TRY(add(*json, document, where));
    }
    return {};
  }

  Status add(const Json& json, const Document& document, const std::string& where) {
    const Json* type = json.find("record_type");
    const std::string* name = type == nullptr ? nullptr : type->as_string();
    if (name == nullptr)
      return bad_input(fmt::format("{}: key \"record_type\" is missing, expected a string", where));
    if (*name == "eplb_load_meta") return add_meta(json, where);
    if (*name == "eplb_load_stats") return add_stats(json, document, where);
    return bad_input(fmt::format("{}: record_type \"{}\", expected eplb_load_meta or eplb_load_stats", where,
                                 name->substr(0, 64)));
  }

  Status check_version(const Json& json, const std::string& where) const {
    const Json* version = json.find("version");
    std::uint64_t number = 0;
    if (version != nullptr && (!version->to_uint(number) || number != 1)) {
      return bad_input(fmt::format("{}: version {}, expected 1, the one known here", where,
                                   version->dump().substr(0, 64)));
    }
    return {};
  }

  Status add_meta(const Json& json, const std::string& where) {
    MOESAIC_TRY(check_version(json, where));
    const Json* layers = json.find("num_layers");
    if (layers == nullptr || !layers->to_uint(layers_)) {
      return bad_input(fmt::format("{}: num_layers, expected a whole number", where));
    }
    meta_seen_ = true;
    return {};
  }

  Status add_stats(const Json& json, const Document& document, const std::string& where) {
    if (!meta_seen_) {
      return bad_input(
          fmt::format("{}: eplb_load_stats before eplb_load_meta, expected the meta record first", where));
    }
    MOESAIC_TRY(check_version(json, where));
    const Json* load = json.find("expert_load");
    const Json* map = json.find("p2l_map");
    if (load == nullptr || map == nullptr) {
      return bad_input(
          fmt::format("{}: expected the keys expert_load and p2l_map, lists [layers][slots]", where));
    }
    Record record;
    MOESAIC_ASSIGN(record.load, read_count_matrix(*load, where + ": expert_load"));
    MOESAIC_ASSIGN(record.map, read_count_matrix(*map, where + ": p2l_map"));
    if (record.load.rows != layers_ || record.map.rows != record.load.rows ||
        record.map.columns != record.load.columns) {
      return bad_input(
          fmt::format("{}: expert_load is [{}][{}] and p2l_map [{}][{}], expected both [{}][slots]", where,
                      record.load.rows, record.load.columns, record.map.rows, record.map.columns, layers_));
    }
    return add_record(record, document, where);
  }

  Status add_record(const Record& record, const Document& document, const std::string& where) {
    MOESAIC_ASSIGN(const std::size_t experts, logical_experts(record.map, where));
    CountPlanes planes;
    for (std::size_t p = 0; p < record.load.rows; ++p)
      planes.planes.push_back(LayerId(static_cast<std::uint16_t>(p)));
    planes.layers_known = false;
    planes.experts = experts;
    MOESAIC_TRY(table_.expect(planes, where));
    std::vector<double> counts(record.load.rows * experts, 0.0);
    for (std::size_t i = 0; i < record.load.values.size(); ++i) {
      counts[i / record.load.columns * experts + static_cast<std::size_t>(record.map.values[i])] +=
          record.load.values[i];
    }
    trace::CountRow row;
    row.window = window_++;
    MOESAIC_ASSIGN(row.domain, table_.domain(document.folder));
    table_.add(row, counts);
    last_map_ = {.layers = record.map.rows, .slots = record.map.columns, .logical = {}};
    for (const double id : record.map.values)
      last_map_.logical.push_back(ExpertId(static_cast<std::uint16_t>(id)));
    return {};
  }

  /// Every expert has at least one slot, so the largest id of a map is E - 1.
  static Result<std::size_t> logical_experts(const CountMatrix& map, const std::string& where) {
    std::size_t experts = 0;
    for (const double id : map.values) {
      if (id >= static_cast<double>(map.columns)) {
        return bad_input(fmt::format("{}: p2l_map holds expert {}, expected fewer experts than its {} slots",
                                     where, id, map.columns));
      }
      experts = std::max(experts, static_cast<std::size_t>(id) + 1);
    }
    std::vector<bool> seen(map.rows * experts, false);
    for (std::size_t i = 0; i < map.values.size(); ++i) {
      seen[i / map.columns * experts + static_cast<std::size_t>(map.values[i])] = true;
    }
    for (std::size_t row = 0; row < map.rows; ++row) {
      for (std::size_t expert = 0; expert < experts; ++expert) {
        if (seen[row * experts + expert]) continue;
        return bad_input(fmt::format("{}: p2l_map gives expert {} of layer {} no slot, expected at least one",
                                     where, expert, row));
      }
    }
    return experts;
  }

  ImportContext& context_;
  CountTable table_;
  EngineMap last_map_;
  bool meta_seen_ = false;
  std::uint64_t layers_ = 0;
  std::uint32_t window_ = 0;
};

Status run(ImportContext& context) { return Reader(context).run(); }

}  // namespace

constinit const Importer kVllmEplb{
    .name = "vllm-eplb",
    .what = "vLLM offline EPLB load records, JSON lines version 1 (vllm pull request 41141)",
    .takes = takes,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
