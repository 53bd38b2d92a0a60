// eldr-calibration: the calibration file of ELDR (arXiv:2607.00466, casys-kaist/ELDR), an .npz
// "eldr-calibration-v1" of request_ids, prefill_counts and decode_counts [N, L, E], prompt_tokens,
// decode_tokens and metadata (a JSON string). Each request becomes a prefill and a decode row.
#include <fmt/format.h>

#include "core/limits.hpp"
#include "ingest/count_table.hpp"
#include "ingest/expert_array.hpp"
#include "ingest/formats.hpp"
#include "io/json.hpp"
#include "io/memory_file.hpp"
#include "io/npz.hpp"

namespace moesaic::ingest {
namespace {

bool takes(std::string_view name) { return name.ends_with(".npz"); }

bool detect(std::string_view name, std::string_view head) {
  const auto holds = [&](std::string_view word) { return head.find(word) != std::string_view::npos; };
  return takes(name) && (holds("request_ids.npy") || holds("prefill_counts.npy"));
}

struct Calibration {
  std::vector<std::string> ids;
  std::vector<double> prefill, decode;  ///< [N, L, E]
  std::vector<std::int64_t> prefill_tokens, decode_tokens;
  std::size_t layers = 0, experts = 0;
};

class FileReader {
 public:
  FileReader(const io::Npz& npz, const std::string& where) : npz_(npz), where_(where) {}

  Result<Calibration> read() {
    Calibration out;
    MOESAIC_ASSIGN(const io::Array* ids, member("request_ids"));
    MOESAIC_ASSIGN(out.ids, io::to_strings(*ids, where_ + ": request_ids"));
    MOESAIC_ASSIGN(out.prefill, counts("prefill_counts", out));
    MOESAIC_ASSIGN(out.decode, counts("decode_counts", out));
    MOESAIC_ASSIGN(out.prefill_tokens, tokens("prompt_tokens", out));
    MOESAIC_ASSIGN(out.decode_tokens, tokens("decode_tokens", out));
    return out;
  }

  /// top_k of the metadata; 0 = not said.
  Result<std::size_t> top_k() {
    const io::Array* metadata = npz_.find("metadata");
    if (metadata == nullptr) return std::size_t{0};
    const std::string place = where_ + ": metadata";
    MOESAIC_ASSIGN(const std::vector<std::string> texts, io::to_strings(*metadata, place));
    if (texts.size() != 1) return bad_input(fmt::format("{}: {} strings, expected one", place, texts.size()));
    MOESAIC_ASSIGN(const Json json, io::parse_json(texts[0], place));
    const Json* format = json.find("format");
    if (format != nullptr && *format != Json("eldr-calibration-v1")) {
      return bad_input(fmt::format("{}: format {}, expected \"eldr-calibration-v1\"", place, format->dump()));
    }
    std::uint64_t value = 0;
    const Json* top_k = json.find("top_k");
    if (top_k == nullptr) return std::size_t{0};
    if (!top_k->to_uint(value) || value == 0 || value > limits::kMaxTopK) {
      return bad_input(fmt::format("{}: top_k {}, expected 1 to {}", place, top_k->dump(), limits::kMaxTopK));
    }
    return static_cast<std::size_t>(value);
  }

 private:
  Result<const io::Array*> member(const char* name) {
    const io::Array* array = npz_.find(name);
    if (array == nullptr)
      return bad_input(fmt::format("{}: no member \"{}\" of a calibration file", where_, name));
    return array;
  }

  Result<std::vector<double>> counts(const char* name, Calibration& out) {
    MOESAIC_ASSIGN(const io::Array* array, member(name));
    const std::string place = fmt::format("{}: {}", where_, name);
    const bool fits = array->shape.size() == 3 && array->shape[0] == out.ids.size() &&
                      (out.layers == 0 || (array->shape[1] == out.layers && array->shape[2] == out.experts));
    if (!fits || array->shape[1] > limits::kMaxLayers || array->shape[2] > limits::kMaxExperts) {
      return bad_input(
          fmt::format("{}: shape {}, expected [{}, layers, experts], the same for prefill and decode", place,
                      array->shape_text(), out.ids.size()));
    }
    out.layers = static_cast<std::size_t>(array->shape[1]);
    out.experts = static_cast<std::size_t>(array->shape[2]);
    return to_counts(*array, false, place);
  }

  Result<std::vector<std::int64_t>> tokens(const char* name, const Calibration& out) {
    MOESAIC_ASSIGN(const io::Array* array, member(name));
    const std::string place = fmt::format("{}: {}", where_, name);
    MOESAIC_ASSIGN(std::vector<std::int64_t> values, io::to_int64(*array, place));
    if (values.size() != out.ids.size()) {
      return bad_input(fmt::format("{}: {} numbers, expected one for each of {} requests", place,
                                   values.size(), out.ids.size()));
    }
    for (const std::int64_t value : values) {
      if (value < 0 || value > UINT32_MAX) return bad_input(fmt::format("{}: {} tokens", place, value));
    }
    return values;
  }

  const io::Npz& npz_;
  const std::string& where_;
};

/// Every layer of a row must count tokens x k, or the file is not what it says.
Status check_sums(std::span<const double> counts, std::int64_t tokens, std::size_t k, std::size_t experts,
                  const std::string& where, std::size_t request, std::string_view phase) {
  const auto expected = static_cast<double>(tokens) * static_cast<double>(k);
  for (std::size_t begin = 0; begin < counts.size(); begin += experts) {
    double sum = 0;
    for (const double count : counts.subspan(begin, experts)) sum += count;
    if (sum != expected) {
      return bad_input(
          fmt::format("{}: {} counts of request {} in layer row {} sum to {}, expected {} tokens x {} "
                      "experts a token",
                      where, phase, request, begin / experts, sum, tokens, k));
    }
  }
  return {};
}

Status add_file(const Document& document, Output& output, CountTable& table) {
  MOESAIC_ASSIGN(const io::Npz npz,
                 io::read_npz(io::MemoryFile(io::as_bytes(document.bytes)), document.path));
  FileReader reader(npz, document.path);
  MOESAIC_ASSIGN(const Calibration data, reader.read());
  MOESAIC_ASSIGN(std::size_t top_k, reader.top_k());
  if (const auto known = output.known_shape(document.path); top_k == 0 && known) top_k = known->top_k;
  CountPlanes planes{.planes = {}, .layers_known = false, .experts = data.experts, .top_k = top_k};
  for (std::size_t p = 0; p < data.layers; ++p)
    planes.planes.push_back(LayerId(static_cast<std::uint16_t>(p)));
  MOESAIC_TRY(table.expect(planes, document.path));
  const std::size_t width = data.layers * data.experts;
  for (std::size_t r = 0; r < data.ids.size(); ++r) {
    trace::CountRow row;
    MOESAIC_ASSIGN(row.domain, table.domain(document.folder));
    row.request = table.request(data.ids[r], row.domain);
    const auto add = [&](const std::vector<double>& counts, std::int64_t tokens, Phase phase) -> Status {
      const std::span<const double> part = std::span(counts).subspan(r * width, width);
      if (top_k != 0)
        MOESAIC_TRY(check_sums(part, tokens, top_k, data.experts, document.path, r, name(phase)));
      row.phase = phase;
      row.tokens = static_cast<std::uint64_t>(tokens);
      table.add(row, part);
      return {};
    };
    MOESAIC_TRY(add(data.prefill, data.prefill_tokens[r], Phase::kPrefill));
    MOESAIC_TRY(add(data.decode, data.decode_tokens[r], Phase::kDecode));
  }
  return {};
}

Status run(ImportContext& context) {
  CountTable table;
  std::string first;
  for (;;) {
    MOESAIC_ASSIGN(std::optional<Document> document, context.documents.next());
    if (!document) break;
    MOESAIC_TRY(context.documents.load(*document));
    if (first.empty()) first = document->path;
    MOESAIC_TRY(add_file(*document, context.output, table));
  }
  return table.write(context.output, first);
}

}  // namespace

constinit const Importer kEldrCalibration{
    .name = "eldr-calibration",
    .what =
        "ELDR calibration .npz (eldr-calibration-v1): prefill and decode counts a request (arXiv:2607.00466)",
    .takes = takes,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
