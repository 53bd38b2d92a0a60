// numpy: .npy and .npz files of counts or of expert ids, as researchers keep them.
//   counts  [L, E]; [windows, L, E]; [requests, L, E]; floats are shares. In an .npz, members
//           "<domain>_<window>" (and "<domain>_calib_<window>") name a domain and a window, and one array of
//           N strings beside an [N, L, E] array gives the domain of each request.
//   tokens  [tokens, L, k] ids, one request an array; in an .npz, "<id>_ids" with "<id>_w" router weights.
// --axes says what a 3-D array is; where it does not, names and the model's k and E decide, or it is refused.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/limits.hpp"
#include "ingest/axes.hpp"
#include "ingest/count_table.hpp"
#include "ingest/expert_array.hpp"
#include "ingest/formats.hpp"
#include "io/memory_file.hpp"
#include "io/npy.hpp"
#include "io/npz.hpp"

namespace moesaic::ingest {
namespace {

bool takes(std::string_view name) { return name.ends_with(".npy") || name.ends_with(".npz"); }

bool detect(std::string_view name, std::string_view head) {
  return takes(name) && (head.starts_with("\x93NUMPY") || head.starts_with("PK"));
}

/// An array with the arrays that belong to it.
struct Piece {
  std::string where, name, folder;
  const io::Array* array = nullptr;
  const io::Array* weights = nullptr;
  std::vector<std::string> labels;  ///< domain of each request of [N, L, E]; or empty
};

class Reader {
 public:
  explicit Reader(ImportContext& context) : context_(context) {}

  Status run() {
    if (!context_.options.axes.empty()) {
      MOESAIC_ASSIGN(axes_, parse_axes(context_.options.axes, "--axes"));
    }
    for (;;) {
      MOESAIC_ASSIGN(std::optional<Document> document, context_.documents.next());
      if (!document) break;
      MOESAIC_TRY(context_.documents.load(*document));
      if (first_.empty()) first_ = document->path;
      const auto bytes = io::as_bytes(document->bytes);
      if (document->name.ends_with(".npy")) {
        MOESAIC_ASSIGN(const io::Array array, io::read_npy(bytes, document->path));
        MOESAIC_TRY(add({.where = document->path,
                         .name = stem(document->name),
                         .folder = document->folder,
                         .array = &array,
                         .labels = {}}));
      } else {
        MOESAIC_ASSIGN(const io::Npz npz, io::read_npz(io::MemoryFile(bytes), document->path));
        MOESAIC_TRY(add_members(*document, npz));
      }
    }
    if (context_.output.is_open()) return context_.output.finish_tokens();
    return table_.write(context_.output, first_,
                        shares_ ? trace::CountUnit::kShare : trace::CountUnit::kTokens);
  }

 private:
  Status add_members(const Document& document, const io::Npz& npz) {
    for (const io::NpzMember& member : npz.members()) {
      const bool text = member.array.dtype == io::DType::kUnicode || member.array.dtype == io::DType::kBytes;
      if (text || is_weights(npz, member.name)) continue;
      Piece piece{.where = fmt::format("{}: {}", document.path, member.name),
                  .name = member.name,
                  .folder = document.folder,
                  .array = &member.array,
                  .labels = {}};
      if (member.name.ends_with("_ids")) {
        piece.name.resize(piece.name.size() - 4);
        piece.weights = npz.find(piece.name + "_w");
      } else {
        MOESAIC_ASSIGN(piece.labels, labels_for(npz, member.array, document.path));
      }
      MOESAIC_TRY(add(piece));
    }
    return {};
  }

  static bool is_weights(const io::Npz& npz, const std::string& name) {
    return name.ends_with("_w") && npz.find(name.substr(0, name.size() - 2) + "_ids") != nullptr;
  }

  /// The strings beside an [N, L, E] array: of --domain-key, else the only such member.
  Result<std::vector<std::string>> labels_for(const io::Npz& npz, const io::Array& array,
                                              const std::string& path) const {
    const std::string& key = context_.options.domain_key;
    const io::NpzMember* found = nullptr;
    for (const io::NpzMember& member : npz.members()) {
      const bool text = member.array.dtype == io::DType::kUnicode || member.array.dtype == io::DType::kBytes;
      const bool fits = text && array.shape.size() == 3 && member.array.shape == std::vector{array.shape[0]};
      if (!fits || (!key.empty() && member.name != key)) continue;
      if (found != nullptr) {
        return bad_input(
            fmt::format("{}: both \"{}\" and \"{}\" could hold the domains; choose with --domain-key", path,
                        found->name, member.name));
      }
      found = &member;
    }
    if (found == nullptr && !key.empty()) {
      return bad_input(fmt::format(
          "{}: --domain-key {}: no array of strings of that name with one for each request", path, key));
    }
    if (found == nullptr) return std::vector<std::string>{};
    return io::to_strings(found->array, fmt::format("{}: {}", path, found->name));
  }

  Status add(const Piece& piece) {
    MOESAIC_ASSIGN(const Axes axes, axes_of(piece));
    const bool tokens = axes.are({Axis::kToken, Axis::kLayer, Axis::kTopK});
    if (tokens ? table_.rows() > 0 : context_.output.is_open()) {
      return bad_input(fmt::format("{}: {} beside {}; import them apart", piece.where,
                                   tokens ? "expert ids of tokens" : "counts", tokens ? "counts" : "tokens"));
    }
    return tokens ? add_tokens(piece, axes) : add_counts(piece, axes);
  }

  Result<Axes> axes_of(const Piece& piece) const {
    const std::size_t dimensions = piece.array->shape.size();
    Axes axes;
    if (axes_) {
      axes = *axes_;
    } else if (dimensions == 2) {
      axes.order = {Axis::kLayer, Axis::kExpert};
    } else if (dimensions == 3) {
      MOESAIC_ASSIGN(axes.order, guess(piece));
    }
    const bool known = axes.are({Axis::kLayer, Axis::kExpert}) ||
                       axes.are({Axis::kWindow, Axis::kLayer, Axis::kExpert}) ||
                       axes.are({Axis::kRequest, Axis::kLayer, Axis::kExpert}) ||
                       axes.are({Axis::kToken, Axis::kLayer, Axis::kTopK});
    if (!known || axes.order.size() != dimensions) {
      return bad_input(
          fmt::format("{}: shape {}, expected [layers, experts], or three axes that --axes names tlk "
                      "(token, layer, k), wle (window, layer, expert) or rle (request, layer, expert)",
                      piece.where, piece.array->shape_text()));
    }
    return axes;
  }

  /// What only one reading fits: ids by name, labelled or fractional counts, or the model's k and E.
  Result<std::vector<Axis>> guess(const Piece& piece) const {
    std::vector<Axis> tokens = {Axis::kToken, Axis::kLayer, Axis::kTopK};
    if (piece.weights != nullptr || piece.where.ends_with("_ids")) return tokens;
    if (!piece.labels.empty()) return std::vector<Axis>{Axis::kRequest, Axis::kLayer, Axis::kExpert};
    const auto known = context_.output.known_shape(first_);
    if (known && known->top_k != 0 && piece.array->shape[2] == known->top_k &&
        known->top_k != known->experts) {
      return tokens;
    }
    return bad_input(
        fmt::format("{}: shape {} may be tokens or counts; say which with --axes: tlk (token, layer, k), "
                    "wle (window, layer, expert) or rle (request, layer, expert)",
                    piece.where, piece.array->shape_text()));
  }

  Status add_counts(const Piece& piece, const Axes& axes) {
    const io::Array& array = *piece.array;
    const bool matrix = array.shape.size() == 2;
    const auto layers = static_cast<std::size_t>(array.shape[matrix ? 0 : 1]);
    const auto experts = static_cast<std::size_t>(array.shape[matrix ? 1 : 2]);
    CountPlanes planes{.planes = {}, .layers_known = !axes.layers.empty(), .experts = experts};
    MOESAIC_ASSIGN(planes.planes, layer_planes(axes, layers, piece.where));
    MOESAIC_TRY(table_.expect(planes, piece.where));
    const bool shares = io::is_float(array.dtype);
    if (table_.rows() > 0 && shares != shares_) {
      return bad_input(fmt::format("{}: elements of type {}, but counts {} before; import them apart",
                                   piece.where, io::name(array.dtype),
                                   shares_ ? "were shares" : "were whole"));
    }
    shares_ = shares;
    MOESAIC_ASSIGN(const std::vector<double> counts, to_counts(array, shares, piece.where));
    const NumberedName name = numbered(piece.name);
    const std::size_t width = layers * experts;
    for (std::size_t i = 0; i * width < counts.size(); ++i) {
      trace::CountRow row;
      row.phase = phase_in(piece.where);
      row.window = matrix ? static_cast<std::uint32_t>(std::max<std::int64_t>(name.number, 0))
                          : static_cast<std::uint32_t>(axes.order[0] == Axis::kWindow ? i : 0);
      MOESAIC_ASSIGN(row.domain, table_.domain(domain_of(piece, name, i, matrix)));
      if (!matrix && axes.order[0] == Axis::kRequest) {
        row.request = table_.request(fmt::format("{}/{}", piece.name, i), row.domain);
      }
      table_.add(row, std::span(counts).subspan(i * width, width));
    }
    return {};
  }

  static std::string domain_of(const Piece& piece, const NumberedName& name, std::size_t i, bool matrix) {
    if (!piece.labels.empty()) return piece.labels[i];
    if (!matrix || name.number < 0) return piece.folder;
    std::string domain = name.stem;
    if (domain.ends_with("_calib")) domain.resize(domain.size() - 6);
    return domain;
  }

  Status add_tokens(const Piece& piece, const Axes& axes) {
    const io::Array& array = *piece.array;
    const auto layers = static_cast<std::size_t>(array.shape[1]);
    ModelShape seen;
    MOESAIC_ASSIGN(seen.layers, layer_planes(axes, layers, piece.where));
    seen.top_k = static_cast<std::size_t>(std::min<std::uint64_t>(array.shape[2], SIZE_MAX));
    if (array.shape[0] == 0) {
      context_.output.anomalies().add("dropped", "Requests without a single token were left out.");
      return {};
    }
    if (seen.top_k == 0 || seen.top_k > limits::kMaxTopK || array.shape[0] > UINT32_MAX) {
      return bad_input(fmt::format("{}: shape {}, expected [tokens, layers, k] with k from 1 to {}",
                                   piece.where, array.shape_text(), limits::kMaxTopK));
    }
    const bool weights = piece.weights != nullptr;
    if (!context_.output.is_open()) {
      MOESAIC_ASSIGN(shape_, context_.output.settle_shape(seen, !axes.layers.empty(), piece.where));
      weights_ = weights;
      MOESAIC_TRY(context_.output.open_tokens(shape_, trace::IdOrder::kSet, weights_));
    }
    if (layers != shape_.layers.size() || seen.top_k != shape_.top_k || weights != weights_) {
      return bad_input(fmt::format("{}: shape {} with{} weights, expected [tokens, {}, {}] with{} as before",
                                   piece.where, array.shape_text(), weights ? "" : "out",
                                   shape_.layers.size(), shape_.top_k, weights_ ? "" : "out"));
    }
    MOESAIC_ASSIGN(const std::vector<ExpertId> experts, to_experts(array, piece.where));
    std::vector<float> floats;
    if (weights) {
      if (piece.weights->shape != array.shape) {
        return bad_input(fmt::format("{}: weights of shape {}, expected {} as the ids", piece.where,
                                     piece.weights->shape_text(), array.shape_text()));
      }
      MOESAIC_ASSIGN(const std::vector<double> values, io::to_double(*piece.weights, piece.where));
      floats.assign(values.begin(), values.end());
    }
    Phase phase = phase_in(piece.where);
    if (phase == Phase::kAll) {
      context_.output.anomalies().add(
          "assumed", "Tokens are taken as decode, because no name says prefill or prompt.", array.shape[0]);
      phase = Phase::kDecode;
    }
    const auto tokens = static_cast<std::uint32_t>(array.shape[0]);
    const NumberedName name = numbered(piece.name);
    trace::RequestRecord record{.id = piece.name,
                                .domain = name.number < 0 ? piece.folder : name.stem,
                                .prefill_tokens = phase == Phase::kPrefill ? tokens : 0,
                                .decode_tokens = phase == Phase::kPrefill ? 0 : tokens};
    return context_.output.add_request(piece.where, std::move(record), experts, floats);
  }

  ImportContext& context_;
  std::optional<Axes> axes_;
  std::string first_;
  CountTable table_;
  bool shares_ = false, weights_ = false;
  ModelShape shape_;
};

Status run(ImportContext& context) { return Reader(context).run(); }

}  // namespace

constinit const Importer kNumpy{
    .name = "numpy",
    .what =
        "NumPy arrays (.npy, .npz): counts [L, E], [windows, L, E], [requests, L, E] or ids [tokens, L, k]",
    .takes = takes,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
