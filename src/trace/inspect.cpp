#include "trace/inspect.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "io/zarr_array.hpp"
#include "trace/store_header.hpp"

namespace moesaic::trace {
namespace {

constexpr std::uint64_t kTokensAtOnce = 262'144;

std::string main_array(const Trace& trace) { return trace.kind() == Kind::kTokens ? "experts" : "counts"; }

/// Paths of all arrays of the store, below it.
Result<std::vector<std::string>> array_names(io::FileSystem& files, const Trace& trace) {
  std::vector<std::string> names{main_array(trace)};
  if (trace.has_weights()) names.emplace_back("weights");
  const char* group = trace.kind() == Kind::kTokens ? nullptr : "row";
  for (const char* folder : {"request", group}) {
    if (folder == nullptr) continue;
    MOESAIC_ASSIGN(const std::vector<std::string> entries, files.list(io::join_path(trace.path(), folder)));
    for (const std::string& entry : entries) {
      if (entry != "zarr.json") names.push_back(io::join_path(folder, entry));
    }
  }
  return names;
}

/// Ids of one layer, one token after another.
Status check_ids(const Trace& trace, std::size_t layer, std::uint64_t first_token,
                 std::span<const ExpertId> ids, Verification& counts) {
  const std::size_t k = trace.shape().top_k;
  counts.values += ids.size();
  for (std::size_t i = 0; i < ids.size(); i += k) {
    for (std::size_t j = i; j < i + k; ++j) {
      if (ids[j] == kMissingExpert) {
        ++counts.missing;
        continue;
      }
      if (std::find(ids.begin() + static_cast<std::ptrdiff_t>(i),
                    ids.begin() + static_cast<std::ptrdiff_t>(j),
                    ids[j]) != ids.begin() + static_cast<std::ptrdiff_t>(j)) {
        ++counts.repeated;
      }
    }
    const auto token = ids.subspan(i, k);
    if (trace.order() == IdOrder::kSet && !std::ranges::is_sorted(token)) {
      return bad_input(
          fmt::format("{}: layer {}, token {}: ids are not sorted, expected so by \"order\": \"set\"; the "
                      "store is damaged, import it again",
                      trace.path(), index(trace.shape().layers[layer]), first_token + i / k));
    }
  }
  return {};
}

Status check_weights(const Trace& trace, std::size_t layer, std::uint64_t first_token,
                     std::span<const ExpertId> ids, std::span<const float> weights) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == kMissingExpert || !std::isnan(weights[i])) continue;
    return bad_input(
        fmt::format("{}: layer {}, token {}: an expert without a weight; the store is damaged, import it "
                    "again",
                    trace.path(), index(trace.shape().layers[layer]), first_token + i / trace.shape().top_k));
  }
  return {};
}

Status verify_tokens(const Trace& trace, Verification& counts) {
  std::vector<ExpertId> ids;
  std::vector<float> weights;
  for (std::uint64_t begin = 0; begin < trace.tokens(); begin += kTokensAtOnce) {
    const std::uint64_t end = std::min(begin + kTokensAtOnce, trace.tokens());
    ids.resize(static_cast<std::size_t>(end - begin) * trace.shape().top_k);
    weights.resize(trace.has_weights() ? ids.size() : 0);
    for (std::size_t layer = 0; layer < trace.shape().layers.size(); ++layer) {
      MOESAIC_TRY(trace.read_layer(layer, begin, end, ids));
      MOESAIC_TRY(check_ids(trace, layer, begin, ids, counts));
      if (!trace.has_weights()) continue;
      MOESAIC_TRY(trace.read_weights(layer, begin, end, weights));
      MOESAIC_TRY(check_weights(trace, layer, begin, ids, weights));
    }
  }
  return {};
}

Status verify_counts(const Trace& trace, Verification& counts) {
  std::vector<double> row(trace.shape().layers.size() * trace.shape().experts);
  for (std::size_t r = 0; r < trace.count_rows().size(); ++r) {
    MOESAIC_TRY(trace.read_counts(r, row));
    counts.values += row.size();
  }
  return {};
}

}  // namespace

Result<std::uint64_t> data_bytes(io::FileSystem& files, const Trace& trace) {
  const std::string folder = io::join_path(trace.path(), main_array(trace));
  MOESAIC_ASSIGN(const std::vector<std::string> names, files.list(folder));
  std::uint64_t bytes = 0;
  for (const std::string& name : names) {
    if (name == "zarr.json") continue;
    MOESAIC_ASSIGN(const io::FileStatus file, files.status(io::join_path(folder, name)));
    bytes += file.size;
  }
  return bytes;
}

Result<std::string> recompute_digest(io::FileSystem& files, const Trace& trace) {
  MOESAIC_ASSIGN(const std::vector<std::string> names, array_names(files, trace));
  std::map<std::string, ArrayContent> arrays;
  for (const std::string& name : names) {
    MOESAIC_ASSIGN(const io::ZarrReader reader,
                   io::ZarrReader::open(files, io::join_path(trace.path(), name)));
    MOESAIC_ASSIGN(const io::Hash128 hash, reader.content_hash());
    arrays[name] = {.shape = reader.array().shape, .hash = io::hex(hash)};
  }
  const bool counts = trace.kind() == Kind::kCounts;
  const StoreHeader header{.kind = trace.kind(),
                           .shape = trace.shape(),
                           .order = trace.order(),
                           .weights = trace.has_weights(),
                           .unit = counts ? trace.count_unit() : CountUnit::kTokens,
                           .provenance = {},
                           .digest = {}};
  return store_digest(header, arrays);
}

Result<Verification> verify(io::FileSystem& files, const Trace& trace) {
  Verification counts;
  MOESAIC_TRY(trace.kind() == Kind::kTokens ? verify_tokens(trace, counts) : verify_counts(trace, counts));
  MOESAIC_ASSIGN(const std::string digest, recompute_digest(files, trace));
  if (digest != trace.digest()) {
    return bad_input(
        fmt::format("{}: digest of the contents is {}, the store says {}; it was changed after it was "
                    "written, import it again",
                    trace.path(), digest, trace.digest()));
  }
  return counts;
}

}  // namespace moesaic::trace
