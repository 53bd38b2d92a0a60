#include <fmt/format.h>

#include <cmath>
#include <map>

#include "core/check.hpp"
#include "io/zarr_array.hpp"
#include "trace/count_rows.hpp"
#include "trace/partial_store.hpp"
#include "trace/paths.hpp"
#include "trace/request_columns.hpp"
#include "trace/store_header.hpp"
#include "trace/writer.hpp"

namespace moesaic::trace {
namespace {

constexpr double kMaxCount = 0x1p53;  ///< above, doubles are no longer whole numbers one by one

Status check_counts(const CountStore& store, const std::string& path) {
  const std::size_t row_counts = store.shape.layers.size() * store.shape.experts;
  MOESAIC_CHECK(store.counts.size() == store.rows.size() * row_counts);
  for (std::size_t i = 0; i < store.counts.size(); ++i) {
    const double count = store.counts[i];
    const bool whole = store.unit == CountUnit::kShare || (count == std::floor(count) && count <= kMaxCount);
    if (!(count >= 0) || !std::isfinite(static_cast<float>(count)) || !whole) {
      return bad_input(fmt::format(
          "{}: row {}, layer {}, expert {} counts {}, expected a {} of at least 0", path, i / row_counts,
          index(store.shape.layers[i % row_counts / store.shape.experts]), i % store.shape.experts, count,
          store.unit == CountUnit::kShare ? "finite share" : "whole number up to 2^53"));
    }
  }
  return {};
}

template <class T>
Result<io::Hash128> write_counts(io::FileSystem& files, const std::string& folder, const io::ZarrArray& array,
                                 const std::vector<double>& counts) {
  MOESAIC_TRY(files.make_directories(folder));
  std::vector<io::Hash128> hashes;
  const auto piece_counts = static_cast<std::size_t>(array.piece_bytes() / sizeof(T));
  const auto pieces_per_chunk = static_cast<std::size_t>(array.pieces_per_chunk());
  for (std::size_t begin = 0, shard = 0; begin < counts.size(); ++shard) {
    std::vector<io::EncodedPiece> pieces(pieces_per_chunk);
    for (std::size_t p = 0; p < pieces_per_chunk && begin < counts.size(); ++p) {
      std::vector<T> values(piece_counts);  // padding is 0
      const std::size_t taken = std::min(piece_counts, counts.size() - begin);
      for (std::size_t i = 0; i < taken; ++i) values[i] = static_cast<T>(counts[begin + i]);
      pieces[p] = io::encode_piece(std::as_bytes(std::span(values)));
      begin += taken;
    }
    const std::string path = io::join_path(folder, io::chunk_key({shard, 0, 0}));
    MOESAIC_TRY(io::write_shard(files, path, pieces, pieces_per_chunk));
    hashes.push_back(io::shard_hash(pieces));
  }
  MOESAIC_TRY(io::write_array_metadata(files, folder, array));
  MOESAIC_TRY(files.sync_directory(folder));
  return io::hash128(std::as_bytes(std::span(hashes)));
}

}  // namespace

Status write_count_store(io::FileSystem& files, const std::string& path, const CountStore& store,
                         const WriterOptions& options) {
  MOESAIC_TRY(validate(store.shape));
  MOESAIC_TRY(validate(store.requests, 0, path));
  MOESAIC_TRY(validate(store.rows, store.requests, path));
  MOESAIC_TRY(check_counts(store, path));
  const io::ZarrArray array = counts_array(store.rows.size(), store.shape, store.unit);
  MOESAIC_TRY(io::validate(array, path));
  MOESAIC_TRY(recover_store(files, path));
  MOESAIC_TRY(refuse_existing(files, path, options.force));
  const std::string partial = partial_path(path), folder = io::join_path(partial, "counts");
  MOESAIC_TRY(renew_partial_folder(files, partial));
  MOESAIC_TRY(files.sync_directory(io::parent_path(partial)));
  MOESAIC_ASSIGN(const io::Hash128 hash, store.unit == CountUnit::kTokens
                                             ? write_counts<std::int64_t>(files, folder, array, store.counts)
                                             : write_counts<float>(files, folder, array, store.counts));
  std::map<std::string, ArrayContent> arrays;
  arrays["counts"] = {.shape = array.shape, .hash = io::hex(hash)};
  MOESAIC_TRY(write_count_rows(files, partial, store.rows, arrays));
  MOESAIC_TRY(write_requests(files, partial, store.requests, arrays));
  StoreHeader header{.kind = Kind::kCounts,
                     .shape = store.shape,
                     .order = IdOrder::kSet,
                     .weights = false,
                     .unit = store.unit,
                     .provenance = store.provenance,
                     .digest = {}};
  return commit_partial_store(files, path, std::move(header), arrays, options.force);
}

}  // namespace moesaic::trace
