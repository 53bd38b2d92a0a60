#include "ingest/moe_trace.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "core/limits.hpp"
#include "ingest/formats.hpp"
#include "ingest/json_text.hpp"

namespace moesaic::ingest {
namespace {

namespace ondemand = simdjson::ondemand;

/// One list element: ids [rows, k] of each MoE layer, in file order.
struct Element {
  std::vector<LayerId> layers;
  std::vector<LayerId> dense;
  std::vector<std::uint16_t> ids;  ///< [layers, rows, k]
  std::size_t rows = 0;

  void clear() {
    layers.clear();
    dense.clear();
    ids.clear();
    rows = 0;
  }
};

class Reader {
 public:
  Reader(const Document& document) : document_(document) {}

  Result<ParsedDocument> read(ondemand::parser& parser) {
    ondemand::document json;
    const std::string& bytes = document_.bytes;
    const auto view = simdjson::padded_string_view(bytes.data(), bytes.size(), bytes.capacity());
    if (auto error = parser.iterate(view).get(json)) return fail(error, 0, "a JSON document");
    ondemand::array list;
    if (auto error = json.get_array().get(list)) return fail(error, offset(json), "a list");
    Element element;
    for (auto item : list) {
      ondemand::object object;
      if (auto error = item.get_object().get(object)) return fail(error, offset(json), "an object of layers");
      element.clear();
      MOESAIC_TRY(read_element(json, object, element));
      MOESAIC_TRY(append(element, offset(json)));
      ++elements_;
    }
    if (json.current_location().error() != simdjson::OUT_OF_BOUNDS)
      return fail(simdjson::TRAILING_CONTENT, offset(json), "the end of the document");
    return finish();
  }

 private:
  std::size_t offset(ondemand::document& json) const {
    const char* at = nullptr;
    if (json.current_location().get(at)) return document_.bytes.size();
    return static_cast<std::size_t>(at - document_.bytes.data());
  }

  tl::unexpected<Error> fail(simdjson::error_code error, std::size_t byte, std::string_view expected) const {
    return bad_input(
        fmt::format("{}: byte {}: expected {} (a moe-trace file is a list of objects {{\"<layer>\": null | "
                    "[[id, ...], ...]}}); the JSON parser says: {}",
                    document_.path, byte, expected, simdjson::error_message(error)));
  }

  tl::unexpected<Error> refuse(std::size_t byte, std::string_view what) const {
    return bad_input(
        fmt::format("{}: list element {}, which ends at byte {}: {}", document_.path, elements_, byte, what));
  }

  Status read_element(ondemand::document& json, ondemand::object& object, Element& element) {
    bool first = true;
    for (auto field : object) {
      std::string_view key;
      if (auto error = field.unescaped_key().get(key)) return fail(error, offset(json), "a layer as key");
      std::uint32_t layer = 0;
      const auto [end, bad] = std::from_chars(key.data(), key.data() + key.size(), layer);
      if (bad != std::errc() || end != key.data() + key.size() || layer >= limits::kMaxLayers) {
        return refuse(offset(json), fmt::format("key \"{}\", expected a layer from 0 to {}",
                                                key.substr(0, 64), limits::kMaxLayers - 1));
      }
      ondemand::value value;
      if (auto error = field.value().get(value)) return fail(error, offset(json), "null or rows of ids");
      bool null = false;
      if (auto error = value.is_null().get(null)) return fail(error, offset(json), "null or rows of ids");
      if (null) {
        element.dense.push_back(LayerId(layer));
        continue;
      }
      MOESAIC_ASSIGN(const std::size_t rows, read_rows(json, value, element.ids));
      if (!first && rows != element.rows) {
        return refuse(offset(json),
                      fmt::format("layer {} has {} rows, expected {} as in the layers before it", layer, rows,
                                  element.rows));
      }
      first = false;
      element.rows = rows;
      element.layers.push_back(LayerId(layer));
    }
    return {};
  }

  /// Appends the ids of one layer; returns its rows.
  Result<std::size_t> read_rows(ondemand::document& json, ondemand::value& value,
                                std::vector<std::uint16_t>& ids) {
    ondemand::array rows;
    if (auto error = value.get_array().get(rows)) return fail(error, offset(json), "null or rows of ids");
    std::size_t count = 0;
    for (auto item : rows) {
      ondemand::array row;
      if (auto error = item.get_array().get(row)) return fail(error, offset(json), "a row of expert ids");
      const std::size_t begin = ids.size();
      for (auto number : row) {
        std::uint64_t id = 0;
        if (auto error = number.get_uint64().get(id)) return fail(error, offset(json), "an expert id");
        if (id >= limits::kMaxExperts) {
          return refuse(offset(json),
                        fmt::format("expert id {}, expected below {}", id, limits::kMaxExperts));
        }
        ids.push_back(static_cast<std::uint16_t>(id));
        if (ids.size() - begin > limits::kMaxTopK) break;
      }
      const std::size_t k = ids.size() - begin;
      if (top_k_ == 0) top_k_ = k;
      if (k != top_k_ || k == 0 || k > limits::kMaxTopK) {
        return refuse(offset(json), fmt::format("a row of {} expert ids, expected {}",
                                                k > limits::kMaxTopK ? "more than 64" : std::to_string(k),
                                                top_k_ == 0 || top_k_ > limits::kMaxTopK
                                                    ? fmt::format("1 to {}", limits::kMaxTopK)
                                                    : fmt::format("{} as in the rows before it", top_k_)));
      }
      ++count;
    }
    return count;
  }

  /// Takes over the layers of the first element, holds later ones to them, and turns [layers, rows, k]
  /// into [rows, layers, k].
  Status append(const Element& element, std::size_t byte) {
    if (elements_ == 0) {
      planes_ = element.layers;
      std::sort(planes_.begin(), planes_.end());
      if (planes_.empty()) return refuse(byte, "no layer with experts, expected at least one");
      if (std::adjacent_find(planes_.begin(), planes_.end()) != planes_.end()) {
        return refuse(byte, "a layer twice, expected each once");
      }
      model_layers_ = index(planes_.back()) + 1;
      for (const LayerId layer : element.dense) model_layers_ = std::max(model_layers_, index(layer) + 1);
      prefill_ = element.rows;
    } else if (element.rows != 1) {
      return refuse(byte, fmt::format("{} rows in a decode step, expected one", element.rows));
    }
    if (element.layers.size() != planes_.size()) {
      return refuse(byte, fmt::format("experts in {} layers, expected {} as in the first element",
                                      element.layers.size(), planes_.size()));
    }
    const std::size_t base = experts_.size();
    const std::size_t stride = planes_.size() * top_k_;
    experts_.resize(base + element.rows * stride, kMissingExpert);
    std::size_t seen = 0;  // planes of this element
    for (std::size_t i = 0; i < element.layers.size(); ++i) {
      std::size_t plane = i;  // files list layers in ascending order, nearly always
      if (planes_[i] != element.layers[i]) {
        const auto found = std::lower_bound(planes_.begin(), planes_.end(), element.layers[i]);
        if (found == planes_.end() || *found != element.layers[i]) {
          return refuse(byte, fmt::format("experts in layer {}, which the first element has not",
                                          index(element.layers[i])));
        }
        plane = static_cast<std::size_t>(found - planes_.begin());
      }
      const std::uint16_t* from = element.ids.data() + i * element.rows * top_k_;
      ExpertId* to = experts_.data() + base + plane * top_k_;
      if (element.rows > 0 && *to == kMissingExpert) ++seen;
      for (std::size_t row = 0; row < element.rows; ++row, to += stride) {
        for (std::size_t j = 0; j < top_k_; ++j) to[j] = ExpertId(*from++);
      }
    }
    if (element.rows > 0 && seen != planes_.size()) return refuse(byte, "a layer twice, expected each once");
    return {};
  }

  Result<ParsedDocument> finish() {
    ParsedDocument out;
    if (elements_ == 0) {
      return bad_input(fmt::format("{}: an empty list, expected a prefill and decode steps", document_.path));
    }
    if (top_k_ == 0) {
      out.anomalies.push_back({"dropped", "Requests without a single token were left out.", 1});
      return out;
    }
    out.planes = std::move(planes_);
    out.model_layers = model_layers_;
    out.top_k = top_k_;
    ParsedRequest request;
    const std::string name = stem(document_.name);
    request.record.id = document_.folder.empty() ? name : document_.folder + "/" + name;
    request.record.domain = document_.folder;
    request.record.prefill_tokens = static_cast<std::uint32_t>(prefill_);
    request.record.decode_tokens = static_cast<std::uint32_t>(elements_ - 1);
    request.experts = std::move(experts_);
    out.requests.push_back(std::move(request));
    return out;
  }

  const Document& document_;
  std::vector<LayerId> planes_;
  std::vector<ExpertId> experts_;
  std::size_t elements_ = 0, top_k_ = 0, model_layers_ = 0, prefill_ = 0;
};

bool takes(std::string_view name) { return name.ends_with(".json"); }

/// Starts as [{"<number>": null or [[... , whitespace anywhere.
bool detect(std::string_view, std::string_view head) {
  JsonStart text(head);
  if (!text.take('[') || !text.take('{') || !text.take('"')) return false;
  if (text.digits() == 0 || !text.take('"') || !text.take(':')) return false;
  return text.take("null") || (text.take('[') && (text.take('[') || text.take(']')));
}

Status run(ImportContext& context) { return import_token_documents(context, parse_moe_trace); }

}  // namespace

Result<ParsedDocument> parse_moe_trace(const Document& document, const ImportOptions&) {
  // One parser a thread: its index of the document is memory worth keeping between small documents.
  constexpr std::size_t kKeepCapacity = 16u << 20;
  thread_local std::unique_ptr<ondemand::parser> parser;
  if (!parser) parser = std::make_unique<ondemand::parser>();
  Result<ParsedDocument> out = Reader(document).read(*parser);
  if (parser->capacity() > kKeepCapacity) parser.reset();
  return out;
}

constinit const Importer kMoeTrace{
    .name = "moe-trace",
    .what = "MoE_expert_selection_trace (arXiv:2510.05497): one JSON file a request, made with SGLang",
    .takes = takes,
    .detect = detect,
    .run = run,
    .shared = true,
};

}  // namespace moesaic::ingest
