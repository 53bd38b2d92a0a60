// sglang-logical-count: {"logical_count": [[count, ...E], ...L]}, the matrix of SGLang's expert
// distribution recorder without its steps, as published for DeepSeek-V3 (sglang issue 6017). A file is a
// row. Its name may start with prefill_ or decode_; the rest of the name is then its domain.
#include <fmt/format.h>

#include "core/limits.hpp"
#include "ingest/count_json.hpp"
#include "ingest/count_table.hpp"
#include "ingest/formats.hpp"
#include "ingest/json_text.hpp"
#include "io/json.hpp"

namespace moesaic::ingest {
namespace {

bool takes(std::string_view name) { return name.ends_with(".json"); }

bool detect(std::string_view, std::string_view head) { return has_key(head, "logical_count"); }

/// Phase by the start of the name; `rest` = what follows it, or the folder.
Phase phase_of(const Document& document, std::string& rest) {
  const std::string name = stem(document.name);
  for (const auto& [prefix, phase] :
       {std::pair{"prefill_", Phase::kPrefill}, std::pair{"decode_", Phase::kDecode}}) {
    if (name.starts_with(prefix)) {
      rest = name.substr(std::string_view(prefix).size());
      return phase;
    }
  }
  rest = document.folder;
  return Phase::kAll;
}

Status add_document(Document& document, const Documents& documents, CountTable& table) {
  MOESAIC_TRY(documents.load(document));
  if (document.bytes.size() > limits::kMaxConfigBytes) {
    return bad_input(fmt::format("{}: {} bytes, expected at most {} for one matrix of counts", document.path,
                                 document.bytes.size(), limits::kMaxConfigBytes));
  }
  MOESAIC_ASSIGN(const Json json, io::parse_json(document.bytes, document.path));
  const Json* counts = json.find("logical_count");
  if (counts == nullptr) {
    return bad_input(
        fmt::format("{}: key \"logical_count\" is missing, expected a list of layers", document.path));
  }
  MOESAIC_ASSIGN(const CountMatrix matrix, read_count_matrix(*counts, document.path + ": logical_count"));
  CountPlanes planes;
  for (std::size_t p = 0; p < matrix.rows; ++p)
    planes.planes.push_back(LayerId(static_cast<std::uint16_t>(p)));
  planes.zero_is_dense = true;
  planes.model_layers = matrix.rows;
  planes.experts = matrix.columns;
  MOESAIC_TRY(table.expect(planes, document.path));
  std::string domain;
  trace::CountRow row;
  row.phase = phase_of(document, domain);
  MOESAIC_ASSIGN(row.domain, table.domain(domain));
  table.add(row, matrix.values);
  return {};
}

Status run(ImportContext& context) {
  CountTable table;
  std::string first;
  while (true) {
    MOESAIC_ASSIGN(std::optional<Document> document, context.documents.next());
    if (!document) break;
    if (first.empty()) first = document->path;
    MOESAIC_TRY(add_document(*document, context.documents, table));
  }
  return table.write(context.output, first);
}

}  // namespace

constinit const Importer kSglangLogicalCount{
    .name = "sglang-logical-count",
    .what = "SGLang expert counts as JSON {\"logical_count\": [layers][experts]} (sglang issue 6017)",
    .takes = takes,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
