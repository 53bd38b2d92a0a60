#include "trace/trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>

#include "core/check.hpp"
#include "core/limits.hpp"
#include "io/zarr_array.hpp"
#include "trace/count_rows.hpp"
#include "trace/paths.hpp"
#include "trace/request_columns.hpp"
#include "trace/store_header.hpp"
#include "trace/widen.hpp"

namespace moesaic::trace {
namespace {

using Shape = std::vector<std::uint64_t>;

constexpr std::uint64_t kMaxPieceTokens = std::uint64_t{1} << 20;

std::string listed(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

/// An array of [tokens, L, k] in pieces [t, 1, k].
Status check_token_array(const io::ZarrReader& reader, const ModelShape& shape) {
  const io::ZarrArray& array = reader.array();
  const std::uint64_t layers = shape.layers.size(), top_k = shape.top_k;
  const bool fits = array.shape.size() == 3 && array.shape[1] == layers && array.shape[2] == top_k;
  if (!fits || array.shape[0] > limits::kMaxTokens) {
    return bad_input(fmt::format("{}: shape {}, expected [tokens, {}, {}] and at most {} tokens",
                                 reader.folder(), listed(array.shape), layers, top_k, limits::kMaxTokens));
  }
  const Shape& piece = array.piece();
  if (array.inner.empty() || array.chunk[1] != layers || piece[1] != 1 || piece[2] != top_k ||
      piece[0] > kMaxPieceTokens) {
    return bad_input(
        fmt::format("{}: chunks of {} with inner chunks of {}, expected [n, {}, {}] with [m, 1, {}]",
                    reader.folder(), listed(array.chunk), listed(array.inner), layers, top_k, top_k));
  }
  return {};
}

Status not_there(io::FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const io::FileStatus partial, files.status(partial_path(path)));
  MOESAIC_ASSIGN(const io::FileStatus replaced, files.status(replaced_path(path)));
  std::string advice = "give the folder that `moesaic import` wrote";
  if (replaced.exists) {
    advice = fmt::format("replacing it was interrupted, the old store is {}: move it back or import again",
                         replaced_path(path));
  } else if (partial.exists) {
    advice = fmt::format("its import was interrupted ({} is there): run the same import again, it resumes",
                         partial_path(path));
  }
  return bad_input(fmt::format("{}: no such trace store; {}", path, advice));
}

}  // namespace

struct Trace::Impl {
  std::string path;
  StoreHeader header;
  RequestTable requests;
  std::optional<io::ZarrReader> experts, weights, counts;
  std::vector<CountRow> rows;

  /// The piece of counts read last: rows are mostly read in order.
  struct CountPiece {
    std::uint64_t number = 0;
    std::vector<double> values;
  };
  mutable std::mutex count_mutex;
  mutable std::shared_ptr<const CountPiece> count_piece;

  Status open_tokens(io::FileSystem& files);
  Status open_counts(io::FileSystem& files);
  Result<std::shared_ptr<const CountPiece>> read_count_piece(std::uint64_t number) const;

  /// Calls body(raw piece bytes, first element, elements, position in the output) for each piece of
  /// `reader` that holds tokens of [begin, end) of `layer`.
  template <class T, class Body>
  Status for_pieces(const io::ZarrReader& reader, std::size_t layer, std::uint64_t begin, std::uint64_t end,
                    const Body& body) const {
    const std::uint64_t piece_tokens = reader.array().piece()[0];
    const std::size_t k = header.shape.top_k;
    const auto raw = std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(piece_tokens) * k);
    const std::span<T> values(raw.get(), static_cast<std::size_t>(piece_tokens) * k);
    for (std::uint64_t at = begin; at < end;) {
      const std::uint64_t piece = at / piece_tokens;
      const std::uint64_t until = std::min(end, (piece + 1) * piece_tokens);
      MOESAIC_TRY(reader.read_piece({piece, layer, 0}, std::as_writable_bytes(values)));
      const auto first = static_cast<std::size_t>(at - piece * piece_tokens) * k;
      const auto count = static_cast<std::size_t>(until - at) * k;
      MOESAIC_TRY(body(std::span<const T>(values.subspan(first, count)),
                       static_cast<std::size_t>(at - begin) * k, at));
      at = until;
    }
    return {};
  }
};

Trace::Trace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trace::Trace(Trace&&) noexcept = default;
Trace& Trace::operator=(Trace&&) noexcept = default;
Trace::~Trace() = default;

Result<Trace> Trace::open(io::FileSystem& files, const std::string& path) {
  const std::string metadata = io::join_path(path, "zarr.json");
  MOESAIC_ASSIGN(const io::FileStatus folder, files.status(path));
  if (!folder.exists) {
    MOESAIC_TRY(not_there(files, path));
  }
  MOESAIC_ASSIGN(const io::FileStatus there, files.status(metadata));
  if (!there.exists) {
    return bad_input(fmt::format(
        "{}: no trace store: it has no zarr.json; give the folder that `moesaic import` wrote", path));
  }
  MOESAIC_ASSIGN(const std::string text, io::read_file(files, metadata, limits::kMaxConfigBytes));
  MOESAIC_ASSIGN(const Json attributes, io::parse_group_metadata(text, metadata));
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  MOESAIC_ASSIGN(impl->header, parse_store_header(attributes, metadata));
  if (impl->header.kind == Kind::kTokens) {
    MOESAIC_TRY(impl->open_tokens(files));
  } else {
    MOESAIC_TRY(impl->open_counts(files));
  }
  return Trace(std::move(impl));
}

Status Trace::Impl::open_tokens(io::FileSystem& files) {
  MOESAIC_ASSIGN(experts, io::ZarrReader::open(files, io::join_path(path, "experts")));
  const io::ZarrArray& array = experts->array();
  const bool narrow = array.type == io::ZarrType::kUint8;
  if ((!narrow && array.type != io::ZarrType::kUint16) || (narrow && header.shape.experts > 255)) {
    return bad_input(fmt::format("{}: {} for {} experts, expected {}", experts->folder(),
                                 io::name(array.type), header.shape.experts,
                                 header.shape.experts > 255 ? "uint16" : "uint8 or uint16"));
  }
  MOESAIC_TRY(check_token_array(*experts, header.shape));
  if (header.weights) {
    MOESAIC_ASSIGN(weights, io::ZarrReader::open(files, io::join_path(path, "weights")));
    MOESAIC_TRY(check_token_array(*weights, header.shape));
    if (weights->array().type != io::ZarrType::kFloat32 || weights->array().shape != array.shape) {
      return bad_input(fmt::format("{}: {} {}, expected float32 {} as \"experts\"", weights->folder(),
                                   io::name(weights->array().type), listed(weights->array().shape),
                                   listed(array.shape)));
    }
  }
  MOESAIC_ASSIGN(requests, read_requests(files, path, array.shape[0]));
  return {};
}

Status Trace::Impl::open_counts(io::FileSystem& files) {
  MOESAIC_ASSIGN(counts, io::ZarrReader::open(files, io::join_path(path, "counts")));
  const io::ZarrArray& array = counts->array();
  const io::ZarrArray expected = counts_array(array.shape[0], header.shape, header.unit);
  if (array.type != expected.type || array.shape != expected.shape || array.inner != expected.inner) {
    return bad_input(fmt::format("{}: {} {} in inner chunks of {}, expected {} {} in {}", counts->folder(),
                                 io::name(array.type), listed(array.shape), listed(array.inner),
                                 io::name(expected.type), listed(expected.shape), listed(expected.inner)));
  }
  MOESAIC_ASSIGN(requests, read_requests(files, path, 0));
  MOESAIC_ASSIGN(rows, read_count_rows(files, path, array.shape[0], requests));
  return {};
}

const std::string& Trace::path() const { return impl_->path; }
Kind Trace::kind() const { return impl_->header.kind; }
const ModelShape& Trace::shape() const { return impl_->header.shape; }
IdOrder Trace::order() const { return impl_->header.order; }
bool Trace::has_weights() const { return impl_->header.weights; }
const RequestTable& Trace::requests() const { return impl_->requests; }
const Provenance& Trace::provenance() const { return impl_->header.provenance; }
const std::string& Trace::digest() const { return impl_->header.digest; }

std::uint64_t Trace::tokens() const { return impl_->experts ? impl_->experts->array().shape[0] : 0; }

Status Trace::read_layer(std::size_t layer, std::uint64_t begin, std::uint64_t end,
                         std::span<ExpertId> out) const {
  MOESAIC_CHECK(kind() == Kind::kTokens && layer < shape().layers.size() && begin <= end && end <= tokens());
  MOESAIC_CHECK(out.size() == (end - begin) * shape().top_k);
  const auto read = [&]<class T>(T) {
    return impl_->for_pieces<T>(
        *impl_->experts, layer, begin, end,
        [&](std::span<const T> values, std::size_t position, std::uint64_t token) -> Status {
          if (widen_ids(values, shape().experts, out.subspan(position, values.size()))) return {};
          return bad_input(
              fmt::format("{}: layer {} holds an id that is no expert of {} in the inner chunk of token "
                          "{}; the store is damaged, import it again",
                          impl_->experts->folder(), index(shape().layers[layer]), shape().experts, token));
        });
  };
  return impl_->experts->array().type == io::ZarrType::kUint8 ? read(std::uint8_t{}) : read(std::uint16_t{});
}

Status Trace::read_weights(std::size_t layer, std::uint64_t begin, std::uint64_t end,
                           std::span<float> out) const {
  MOESAIC_CHECK(has_weights() && layer < shape().layers.size() && begin <= end && end <= tokens());
  MOESAIC_CHECK(out.size() == (end - begin) * shape().top_k);
  return impl_->for_pieces<float>(
      *impl_->weights, layer, begin, end,
      [&](std::span<const float> values, std::size_t position, std::uint64_t) -> Status {
        std::ranges::copy(values, out.begin() + static_cast<std::ptrdiff_t>(position));
        return {};
      });
}

CountUnit Trace::count_unit() const {
  MOESAIC_CHECK(kind() == Kind::kCounts);
  return impl_->header.unit;
}

const std::vector<CountRow>& Trace::count_rows() const {
  MOESAIC_CHECK(kind() == Kind::kCounts);
  return impl_->rows;
}

Result<std::shared_ptr<const Trace::Impl::CountPiece>> Trace::Impl::read_count_piece(
    std::uint64_t number) const {
  {
    const std::lock_guard lock(count_mutex);
    if (count_piece != nullptr && count_piece->number == number) return count_piece;
  }
  const io::ZarrArray& array = counts->array();
  std::vector<std::byte> raw(static_cast<std::size_t>(array.piece_bytes()));
  MOESAIC_TRY(counts->read_piece({number, 0, 0}, raw));
  auto piece = std::make_shared<CountPiece>();
  piece->number = number;
  piece->values.resize(raw.size() / io::width(array.type));
  for (std::size_t i = 0; i < piece->values.size(); ++i) {
    if (array.type == io::ZarrType::kInt64) {
      std::int64_t value = 0;
      std::memcpy(&value, raw.data() + i * sizeof value, sizeof value);
      piece->values[i] = static_cast<double>(value);
    } else {
      float value = 0;
      std::memcpy(&value, raw.data() + i * sizeof value, sizeof value);
      piece->values[i] = static_cast<double>(value);
    }
  }
  const std::lock_guard lock(count_mutex);
  count_piece = piece;
  return std::shared_ptr<const CountPiece>(std::move(piece));
}

Status Trace::read_counts(std::size_t row, std::span<double> out) const {
  MOESAIC_CHECK(kind() == Kind::kCounts && row < count_rows().size());
  MOESAIC_CHECK(out.size() == shape().layers.size() * shape().experts);
  const auto piece_rows = static_cast<std::size_t>(impl_->counts->array().piece()[0]);
  MOESAIC_ASSIGN(const auto piece, impl_->read_count_piece(row / piece_rows));
  const std::span<const double> values =
      std::span(piece->values).subspan(row % piece_rows * out.size(), out.size());
  for (const double value : values) {
    if (!(value >= 0) || !std::isfinite(value)) {
      return bad_input(
          fmt::format("{}: row {} holds {}, expected counts of at least 0; the store is damaged, import "
                      "it again",
                      impl_->counts->folder(), row, value));
    }
  }
  std::ranges::copy(values, out.begin());
  return {};
}

}  // namespace moesaic::trace
