// sglang-per-pass: the mode per_pass of SGLang's expert distribution recorder: one file a rank of
// {records: [{forward_pass_id, rank, gatherer_key, global_physical_count [L, P]}], last map}. A record holds
// one rank's part of a pass: parts are summed, slots become experts, a pass becomes a count row.
#include <fmt/format.h>

#include <map>

#include "ingest/count_table.hpp"
#include "ingest/expert_array.hpp"
#include "ingest/formats.hpp"
#include "ingest/sglang_dump.hpp"

namespace moesaic::ingest {
namespace {

bool detect(std::string_view name, std::string_view head) {
  const auto holds = [&](std::string_view word) { return head.find(word) != std::string_view::npos; };
  return takes_torch_file(name) && head.starts_with("PK") && holds("global_physical_count") &&
         !holds("input_ids");
}

class Reader {
 public:
  explicit Reader(ImportContext& context) : context_(context) {}

  Status run() {
    for (;;) {
      MOESAIC_ASSIGN(std::optional<Document> document, context_.documents.next());
      if (!document) break;
      MOESAIC_TRY(context_.documents.load(*document));
      MOESAIC_TRY(add(*document));
    }
    return write();
  }

 private:
  Status add(Document& document) {
    const auto known = context_.output.known_shape(document.path);
    MOESAIC_ASSIGN(const SglangDump dump, open_sglang_dump(document, known ? known->experts : 0));
    if (first_.empty()) {
      first_ = document.path;
      domain_ = document.folder;
      map_ = dump.map;
    }
    MOESAIC_TRY(check_same_map(map_, dump.map, document.path));
    for (std::size_t i = 0; i < dump.records.size(); ++i) {
      const std::string where = fmt::format("{}: record {}", document.path, i);
      MOESAIC_ASSIGN(const std::int64_t pass, need_int(dump.records[i], "forward_pass_id", where));
      MOESAIC_ASSIGN(const io::Array array,
                     need_tensor(dump.file, dump.records[i], "global_physical_count", 2, where));
      if (array.shape[0] != map_.layers || array.shape[1] != map_.slots) {
        return bad_input(
            fmt::format("{}: global_physical_count of shape {}, expected [{}, {}] as the map has", where,
                        array.shape_text(), map_.layers, map_.slots));
      }
      MOESAIC_ASSIGN(const std::vector<double> counts,
                     to_counts(array, false, where + ": global_physical_count"));
      std::vector<double>& sum = passes_[pass];
      sum.resize(map_.layers * map_.experts, 0.0);
      for (std::size_t slot = 0; slot < counts.size(); ++slot) {
        sum[slot / map_.slots * map_.experts + map_.logical[slot]] += counts[slot];
      }
    }
    return {};
  }

  Status write() {
    CountTable table;
    CountPlanes planes{.planes = {},
                       .layers_known = true,
                       .zero_is_dense = true,
                       .model_layers = map_.layers,
                       .experts = map_.experts};
    for (std::size_t p = 0; p < map_.layers; ++p)
      planes.planes.push_back(LayerId(static_cast<std::uint16_t>(p)));
    if (!passes_.empty()) MOESAIC_TRY(table.expect(planes, first_));
    for (auto& [pass, counts] : passes_) {
      trace::CountRow row;
      row.window = static_cast<std::uint32_t>(table.rows());
      MOESAIC_ASSIGN(row.domain, table.domain(domain_));
      table.add(row, counts);
      counts = {};
    }
    report_last_map(map_, context_.output);
    return table.write(context_.output, first_);
  }

  ImportContext& context_;
  std::string first_, domain_;
  PhysicalMap map_;
  std::map<std::int64_t, std::vector<double>> passes_;  ///< by forward_pass_id: logical counts [L, E]
};

Status run(ImportContext& context) { return Reader(context).run(); }

}  // namespace

constinit const Importer kSglangPerPass{
    .name = "sglang-per-pass",
    .what = "SGLang expert distribution recorder, mode per_pass (.pt, one file a rank)",
    .takes = takes_torch_file,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
