// sglang-per-token: the mode per_token of SGLang's expert distribution recorder: one file a rank of
// {records: [{forward_pass_id, input_ids, positions, extend_seq_lens | None, forward_mode,
// topk_ids_of_layer [L, tokens, 8]}], last map}. Ids are physical slots, -1 fills what a token does not
// have. An extend pass is split into requests by extend_seq_lens; decode rows have no request.
// misc_objects is unreliable and not looked at.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/limits.hpp"
#include "ingest/formats.hpp"
#include "ingest/sglang_dump.hpp"

namespace moesaic::ingest {
namespace {

bool detect(std::string_view name, std::string_view head) {
  return takes_torch_file(name) && head.starts_with("PK") && head.find("records") != std::string_view::npos &&
         (head.find("input_ids") != std::string_view::npos ||
          head.find("topk_ids_of_layer") != std::string_view::npos);
}

/// A list of whole numbers >= 0, as a list or a tensor of one dimension.
Result<std::vector<std::int64_t>> numbers(const io::TorchFile& file, const io::PickleValue& value,
                                          const std::string& where) {
  std::vector<std::int64_t> out;
  if (value.as_tensor() != nullptr) {
    MOESAIC_ASSIGN(const io::Array array, file.materialise(*value.as_tensor()));
    MOESAIC_ASSIGN(out, io::to_int64(array, where));
  } else {
    for (std::size_t i = 0; value.is_sequence() && i < value.size(); ++i) {
      const auto number = value.at(i).as_int();
      if (!number) return bad_input(fmt::format("{}: item {} is no int", where, i));
      out.push_back(*number);
    }
    if (!value.is_sequence())
      return bad_input(fmt::format("{}: a {}, expected a list", where, value.description()));
  }
  if (std::ranges::any_of(out, [](std::int64_t n) { return n < 0 || n > UINT32_MAX; })) {
    return bad_input(fmt::format("{}: a number below 0 or beyond 32 bits", where));
  }
  return out;
}

struct Record {
  std::string where;
  std::string label;  ///< start of its requests' ids
  std::size_t tokens = 0, width = 0;
  std::vector<std::int32_t> slots;  ///< [layers, tokens, width], -1 = none
  std::vector<std::int64_t> lengths, positions;
  bool extend = false;
};

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
    if (!context_.output.is_open()) {
      return bad_input(fmt::format("{}: no record with a token, so there is nothing to import", first_));
    }
    report_last_map(map_, context_.output);
    return context_.output.finish_tokens();
  }

 private:
  Status add(Document& document) {
    const auto known = context_.output.known_shape(document.path);
    MOESAIC_ASSIGN(const SglangDump dump, open_sglang_dump(document, known ? known->experts : 0));
    if (first_.empty()) {
      first_ = document.path;
      map_ = dump.map;
    }
    MOESAIC_TRY(check_same_map(map_, dump.map, document.path));
    if (!context_.output.is_open()) MOESAIC_TRY(open(document, dump));
    if (!context_.output.is_open()) return {};
    for (std::size_t i = 0; i < dump.records.size(); ++i) {
      MOESAIC_ASSIGN(const Record record, read(dump, i, document));
      if (record.tokens == 0) continue;
      if (!note(record)) {
        context_.output.anomalies().add(
            "dropped", "Tokens of passes that another rank recorded as well, id for id, were left out.",
            record.tokens);
        continue;
      }
      MOESAIC_TRY(write(record, document.folder));
    }
    return {};
  }

  /// Layers without a single id are dense; k is the most ids a token has.
  Status open(const Document& document, const SglangDump& dump) {
    std::vector<bool> used(map_.layers, false);
    ModelShape seen;
    for (std::size_t i = 0; i < dump.records.size(); ++i) {
      MOESAIC_ASSIGN(const Record record, read(dump, i, document));
      for (std::size_t row = 0; row < map_.layers * record.tokens; ++row) {
        const auto begin = record.slots.begin() + static_cast<std::ptrdiff_t>(row * record.width);
        const auto ids = static_cast<std::size_t>(std::count_if(
            begin, begin + static_cast<std::ptrdiff_t>(record.width), [](auto id) { return id >= 0; }));
        seen.top_k = std::max(seen.top_k, ids);
        if (ids > 0) used[row / record.tokens] = true;
      }
    }
    if (seen.top_k == 0) return {};
    for (std::size_t layer = 0; layer < map_.layers; ++layer) {
      if (used[layer]) seen.layers.push_back(LayerId(static_cast<std::uint16_t>(layer)));
    }
    seen.model_layers = map_.layers;
    seen.experts = map_.experts;
    MOESAIC_ASSIGN(shape_, context_.output.settle_shape(seen, true, document.path));
    if (shape_.model_layers > map_.layers) {
      return bad_input(
          fmt::format("{}: {} layers in the map, but model \"{}\" has {}; give the model that made this "
                      "dump",
                      document.path, map_.layers, shape_.model, shape_.model_layers));
    }
    return context_.output.open_tokens(shape_);
  }

  Result<Record> read(const SglangDump& dump, std::size_t number, const Document& document) const {
    const io::PickleValue& value = dump.records[number];
    Record record;
    record.where = fmt::format("{}: record {}", document.path, number);
    MOESAIC_ASSIGN(const std::int64_t pass, need_int(value, "forward_pass_id", record.where));
    record.label = fmt::format("{}/pass{}", stem(document.name), pass);
    MOESAIC_ASSIGN(const io::Array array,
                   need_tensor(dump.file, value, "topk_ids_of_layer", 3, record.where));
    if (array.shape[0] != map_.layers || array.shape[2] > limits::kMaxTopK) {
      return bad_input(fmt::format("{}: topk_ids_of_layer of shape {}, expected [{}, tokens, at most {}]",
                                   record.where, array.shape_text(), map_.layers, limits::kMaxTopK));
    }
    record.tokens = static_cast<std::size_t>(array.shape[1]);
    record.width = static_cast<std::size_t>(array.shape[2]);
    MOESAIC_ASSIGN(const std::vector<std::int64_t> ids,
                   io::to_int64(array, record.where + ": topk_ids_of_layer"));
    record.slots.reserve(ids.size());
    for (const std::int64_t id : ids) {
      if (id < -1 || id >= static_cast<std::int64_t>(map_.slots)) {
        return bad_input(fmt::format("{}: topk_ids_of_layer holds slot {}, expected -1 to {}", record.where,
                                     id, map_.slots - 1));
      }
      record.slots.push_back(static_cast<std::int32_t>(id));
    }
    if (const auto positions = value.find("positions"); positions && !positions->is_none()) {
      MOESAIC_ASSIGN(record.positions, numbers(dump.file, *positions, record.where + ": positions"));
    }
    if (const auto lengths = value.find("extend_seq_lens"); lengths && !lengths->is_none()) {
      record.extend = true;
      MOESAIC_ASSIGN(record.lengths, numbers(dump.file, *lengths, record.where + ": extend_seq_lens"));
      std::uint64_t sum = 0;
      for (const std::int64_t length : record.lengths) sum += static_cast<std::uint64_t>(length);
      if (sum != record.tokens) {
        return bad_input(
            fmt::format("{}: extend_seq_lens sum to {}, expected the {} tokens of topk_ids_of_layer",
                        record.where, sum, record.tokens));
      }
    }
    return record;
  }

  /// False when the same pass, token for token, came from another rank: with tensor-parallel attention
  /// every rank records all tokens.
  bool note(const Record& record) {
    const std::size_t slash = record.label.rfind('/');
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, 64 bits
    const auto mix = [&](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3; };
    for (const char c : std::string_view(record.label).substr(slash)) mix(static_cast<unsigned char>(c));
    for (const std::int64_t position : record.positions) mix(static_cast<std::uint64_t>(position));
    for (const std::int32_t slot : record.slots) mix(static_cast<std::uint32_t>(slot));
    return seen_.insert(hash).second;
  }

  Status write(const Record& record, const std::string& domain) {
    const std::size_t width = shape_.layers.size() * shape_.top_k;
    std::vector<ExpertId> experts(record.tokens * width, kMissingExpert);
    for (std::size_t row = 0; row < shape_.layers.size(); ++row) {
      const std::size_t layer = index(shape_.layers[row]);
      for (std::size_t t = 0; t < record.tokens; ++t) {
        const std::int32_t* from = record.slots.data() + (layer * record.tokens + t) * record.width;
        ExpertId* to = experts.data() + t * width + row * shape_.top_k;
        std::size_t put = 0;
        for (std::size_t j = 0; j < record.width; ++j) {
          if (from[j] < 0) continue;
          if (put == shape_.top_k) {
            return bad_input(
                fmt::format("{}: token {} of layer {} has more than {} experts, expected at most so many; "
                            "give the model with --model",
                            record.where, t, layer, shape_.top_k));
          }
          to[put++] = ExpertId(map_.at(layer, static_cast<std::size_t>(from[j])));
        }
      }
    }
    if (!record.extend) {
      context_.output.anomalies().add(
          "anonymous", "Tokens of decode passes have no request, because the dump does not name it.",
          record.tokens);
      return context_.output.add_anonymous(record.where, record.tokens, experts);
    }
    std::size_t begin = 0;
    for (std::size_t r = 0; r < record.lengths.size(); ++r) {
      const auto tokens = static_cast<std::size_t>(record.lengths[r]);
      if (tokens == 0) continue;
      if (begin < record.positions.size() && record.positions[begin] != 0) {
        context_.output.anomalies().add(
            "assumed",
            "Pieces of a prefill that begin after position 0 (a cached prefix or a chunk) are requests of "
            "their own.");
      }
      trace::RequestRecord request{.id = fmt::format("{}/{}", record.label, r),
                                   .domain = domain,
                                   .prefill_tokens = static_cast<std::uint32_t>(tokens)};
      MOESAIC_TRY(context_.output.add_request(record.where, std::move(request),
                                              std::span(experts).subspan(begin * width, tokens * width)));
      begin += tokens;
    }
    return {};
  }

  ImportContext& context_;
  std::string first_;
  PhysicalMap map_;
  ModelShape shape_;
  std::set<std::uint64_t> seen_;  ///< hashes of passes
};

Status run(ImportContext& context) { return Reader(context).run(); }

}  // namespace

constinit const Importer kSglangPerToken{
    .name = "sglang-per-token",
    .what = "SGLang expert distribution recorder, mode per_token (.pt, one file a rank)",
    .takes = takes_torch_file,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
