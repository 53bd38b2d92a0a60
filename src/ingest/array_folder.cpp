// array-folder: a folder with index.json and one raw array of expert ids beside it (experts.u8.bin or .bin
// of any name, packed or not). The index: {"model", "shape": [tokens, layers, k], "dtype": "uint8|uint16",
// "axes": text or list, "experts", "top_k", "phase", "requests": [{"start", "n", "prefill", "id",
// "domain" | "topic" | "category", "arrival"}]}.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/limits.hpp"
#include "ingest/axes.hpp"
#include "ingest/expert_array.hpp"
#include "ingest/formats.hpp"
#include "io/json.hpp"

namespace moesaic::ingest {
namespace {

bool takes(std::string_view name) { return name == "index.json" || name.ends_with(".bin"); }

bool detect(std::string_view name, std::string_view head) {
  const auto holds = [&](std::string_view word) { return head.find(word) != std::string_view::npos; };
  return name == "index.json" && holds("\"shape\"") && holds("\"dtype\"") && holds("\"requests\"");
}

struct Request {
  std::uint64_t start = 0, tokens = 0;
  trace::RequestRecord record;
};

struct Index {
  std::string where;
  std::uint64_t tokens = 0;
  ModelShape shape;
  bool layers_known = false;
  io::DType dtype = io::DType::kUint8;
  std::vector<Request> requests;
};

class IndexReader {
 public:
  IndexReader(const Document& document, const ImportOptions& options, Output& output)
      : options_(options), output_(output), folder_(document.folder) {
    index_.where = document.path;
  }

  Result<Index> read(const Json& json) {
    MOESAIC_TRY(read_shape(json));
    const Json* requests = json.find("requests");
    if (requests == nullptr || !requests->is_array())
      return refuse("key \"requests\"", "is no list of objects");
    const Json* phase = json.find("phase");
    phase_ = phase != nullptr && phase->is_string() ? phase_in(*phase->as_string()) : Phase::kAll;
    MOESAIC_TRY(choose_domain_key(*requests->as_array()));
    for (const Json& request : *requests->as_array()) MOESAIC_TRY(read_request(request));
    return std::move(index_);
  }

 private:
  tl::unexpected<Error> refuse(const std::string& key, std::string_view what) const {
    return bad_input(fmt::format("{}: {} {}", index_.where, key, what));
  }

  Status read_shape(const Json& json) {
    const Json* shape = json.find("shape");
    std::vector<std::uint64_t> sizes;
    for (const Json& size : shape != nullptr && shape->is_array() ? *shape->as_array() : Json::Array{}) {
      std::uint64_t value = 0;
      if (!size.to_uint(value)) return refuse("key \"shape\"", "holds what is no size");
      sizes.push_back(value);
    }
    if (sizes.size() != 3 || sizes[0] > limits::kMaxTokens || sizes[2] == 0 || sizes[2] > limits::kMaxTopK) {
      return refuse("key \"shape\"",
                    fmt::format("is {}, expected [tokens, layers, k] with k from 1 to {}",
                                shape == nullptr ? "missing" : shape->dump(), limits::kMaxTopK));
    }
    const Json* dtype = json.find("dtype");
    const std::string type = dtype != nullptr && dtype->is_string() ? *dtype->as_string() : "";
    if (type != "uint8" && type != "uint16")
      return refuse("key \"dtype\"", "is neither \"uint8\" nor \"uint16\"");
    index_.dtype = type == "uint8" ? io::DType::kUint8 : io::DType::kUint16;

    Axes axes{.order = {Axis::kToken, Axis::kLayer, Axis::kTopK}, .layers = {}};
    if (const Json* said = json.find("axes")) {
      MOESAIC_ASSIGN(axes, parse_json_axes(*said, index_.where));
    }
    if (!axes.are({Axis::kToken, Axis::kLayer, Axis::kTopK})) {
      return refuse("key \"axes\"", "is not token, layer, k in this order");
    }
    index_.tokens = sizes[0];
    MOESAIC_ASSIGN(index_.shape.layers, layer_planes(axes, static_cast<std::size_t>(sizes[1]), index_.where));
    index_.layers_known = !axes.layers.empty();
    index_.shape.top_k = static_cast<std::size_t>(sizes[2]);
    if (const Json* experts = json.find("experts")) {
      std::uint64_t value = 0;
      if (!experts->to_uint(value) || value == 0 || value > limits::kMaxExperts) {
        return refuse("key \"experts\"",
                      fmt::format("is {}, expected 1 to {}", experts->dump(), limits::kMaxExperts));
      }
      index_.shape.experts = static_cast<std::size_t>(value);
    }
    if (const Json* model = json.find("model"); model != nullptr && model->is_string()) {
      index_.shape.model = *model->as_string();
    }
    return {};
  }

  /// --domain-key, else the first of the usual ones that a request has.
  Status choose_domain_key(const Json::Array& requests) {
    if (!options_.domain_key.empty()) {
      domain_key_ = options_.domain_key;
      if (std::ranges::any_of(requests, [&](const Json& r) { return r.find(domain_key_) != nullptr; }))
        return {};
      return refuse(fmt::format("--domain-key {}:", domain_key_), "no request has such a key");
    }
    for (const char* key : {"domain", "topic", "category"}) {
      if (std::ranges::any_of(requests, [&](const Json& r) { return r.find(key) != nullptr; })) {
        domain_key_ = key;
        return {};
      }
    }
    return {};
  }

  Status read_request(const Json& json) {
    const std::string place = fmt::format("request {}", index_.requests.size());
    Request request;
    const auto number = [&](const char* key, std::uint64_t& out) {
      const Json* value = json.find(key);
      return value != nullptr && value->to_uint(out);
    };
    if (!number("start", request.start) || !number("n", request.tokens)) {
      return refuse(place, "has no whole numbers \"start\" and \"n\"");
    }
    const std::uint64_t before =
        index_.requests.empty() ? 0 : index_.requests.back().start + index_.requests.back().tokens;
    if (request.start < before || request.tokens > index_.tokens ||
        request.start > index_.tokens - request.tokens || request.tokens > UINT32_MAX) {
      return refuse(
          place, fmt::format("covers tokens {} to {}, expected a span from {} on within the {} tokens there "
                             "are",
                             request.start, request.start + request.tokens, before, index_.tokens));
    }
    std::uint64_t prefill = phase_ == Phase::kPrefill ? request.tokens : 0;
    if (json.find("prefill") != nullptr && (!number("prefill", prefill) || prefill > request.tokens)) {
      return refuse(place, fmt::format("has \"prefill\" {}, expected 0 to its {} tokens",
                                       json.find("prefill")->dump(), request.tokens));
    }
    if (json.find("prefill") == nullptr && phase_ == Phase::kAll) {
      output_.anomalies().add("assumed",
                              "Tokens of requests are taken as decode, because the index does not say.");
    }
    request.record.prefill_tokens = static_cast<std::uint32_t>(prefill);
    request.record.decode_tokens = static_cast<std::uint32_t>(request.tokens - prefill);
    request.record.id = id_of(json);
    if (const Json* domain = domain_key_.empty() ? nullptr : json.find(domain_key_)) {
      request.record.domain = domain->is_string() ? *domain->as_string() : domain->dump();
    } else if (domain_key_.empty()) {
      request.record.domain = folder_;
    }
    if (const Json* arrival = json.find("arrival")) {
      double seconds = 0;
      if (!arrival->to_double(seconds) || !(seconds >= 0) || seconds > 9e9) {
        return refuse(place, fmt::format("has \"arrival\" {}, expected seconds", arrival->dump()));
      }
      request.record.arrival_ns = static_cast<std::int64_t>(seconds * 1e9);
    }
    index_.requests.push_back(std::move(request));
    return {};
  }

  std::string id_of(const Json& json) const {
    if (const Json* id = json.find("id")) return id->is_string() ? *id->as_string() : id->dump();
    return fmt::format("{}{}{}", folder_, folder_.empty() ? "" : "/", index_.requests.size());
  }

  const ImportOptions& options_;
  Output& output_;
  std::string folder_, domain_key_;
  Phase phase_ = Phase::kAll;
  Index index_;
};

/// The two files of a folder, in whichever order they come.
struct Folder {
  std::optional<Document> index, array;
};

class Reader {
 public:
  explicit Reader(ImportContext& context) : context_(context) {}

  Status run() {
    std::vector<std::string> order;
    std::map<std::string, Folder> folders;
    for (;;) {
      MOESAIC_ASSIGN(std::optional<Document> document, context_.documents.next());
      if (!document) break;
      // Members of an archive have the archive's name before a colon.
      const std::string key = document->path.substr(0, document->path.find_last_of("/:") + 1);
      if (!folders.contains(key)) order.push_back(key);
      Folder& folder = folders[key];
      std::optional<Document>& slot = document->name == "index.json" ? folder.index : folder.array;
      if (slot) {
        return bad_input(
            fmt::format("{}: a second array beside {}; expected one index.json and one array a folder",
                        document->path, slot->path));
      }
      slot = std::move(document);
    }
    for (const std::string& key : order) MOESAIC_TRY(add_folder(folders[key]));
    if (!context_.output.is_open())
      return bad_input("the sources hold no index.json, so there is nothing to import");
    return context_.output.finish_tokens();
  }

 private:
  Status add_folder(Folder& folder) {
    if (!folder.index || !folder.array) {
      return bad_input(fmt::format("{}: has no {} beside it",
                                   (folder.index ? folder.index : folder.array)->path,
                                   folder.index ? "array (a .bin file)" : "index.json"));
    }
    MOESAIC_TRY(context_.documents.load(*folder.index));
    MOESAIC_ASSIGN(const Json json, io::parse_json(folder.index->bytes, folder.index->path));
    MOESAIC_ASSIGN(const Index index,
                   IndexReader(*folder.index, context_.options, context_.output).read(json));
    MOESAIC_TRY(context_.documents.load(*folder.array));
    if (!context_.output.is_open()) {
      MOESAIC_ASSIGN(shape_, context_.output.settle_shape(index.shape, index.layers_known, index.where));
      seen_ = index.shape;
      MOESAIC_TRY(context_.output.open_tokens(shape_));
    } else if (index.shape != seen_) {
      return bad_input(fmt::format(
          "{}: another shape or model than the folder before; import one model at a time", index.where));
    }
    if (shape_.layers.size() != index.shape.layers.size()) {
      return bad_input(
          fmt::format("{}: {} layers, but model \"{}\" has {} MoE layers; give the model that made this "
                      "trace",
                      index.where, index.shape.layers.size(), shape_.model, shape_.layers.size()));
    }
    return add_tokens(index, *folder.array);
  }

  Status add_tokens(const Index& index, const Document& array) {
    const std::size_t item = io::size_of(index.dtype);
    const std::size_t width = shape_.layers.size() * shape_.top_k;
    MOESAIC_ASSIGN(const std::uint64_t expected,
                   io::checked_bytes({index.tokens, width}, item, array.bytes.size(), array.path));
    if (expected != array.bytes.size()) {
      return bad_input(fmt::format("{}: {} bytes, expected {} for the shape in {}", array.path,
                                   array.bytes.size(), expected, index.where));
    }
    std::vector<ExpertId> scratch;
    const auto experts = [&](std::uint64_t begin, std::uint64_t end) -> std::span<const ExpertId> {
      const auto* bytes = reinterpret_cast<const unsigned char*>(array.bytes.data()) + begin * width * item;
      scratch.resize(static_cast<std::size_t>(end - begin) * width);
      for (std::size_t i = 0; i < scratch.size(); ++i) {
        const unsigned id =
            item == 1 ? bytes[i] : static_cast<unsigned>(bytes[2 * i] | bytes[2 * i + 1] << 8);
        const bool missing = item == 1 && id == 0xFF && shape_.experts <= 0xFF;
        scratch[i] = missing ? kMissingExpert : ExpertId(static_cast<std::uint16_t>(id));
      }
      return scratch;
    };
    std::uint64_t at = 0;
    const auto add_gap = [&](std::uint64_t end) -> Status {
      if (end == at) return {};
      context_.output.anomalies().add(
          "anonymous", "Tokens that no request of the index covers have no request.", end - at);
      return context_.output.add_anonymous(array.path, end - at, experts(at, end));
    };
    for (const Request& request : index.requests) {
      MOESAIC_TRY(add_gap(request.start));
      at = request.start + request.tokens;
      if (request.tokens == 0) {
        context_.output.anomalies().add("dropped", "Requests without a single token were left out.");
        continue;
      }
      MOESAIC_TRY(context_.output.add_request(array.path, request.record, experts(request.start, at)));
    }
    return add_gap(index.tokens);
  }

  ImportContext& context_;
  ModelShape shape_, seen_;
};

Status run(ImportContext& context) { return Reader(context).run(); }

}  // namespace

constinit const Importer kArrayFolder{
    .name = "array-folder",
    .what = "A folder of index.json and a raw array of expert ids [tokens, layers, k]",
    .takes = takes,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
