#include "trace/count_rows.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"
#include "io/zarr_array.hpp"
#include "trace/request_columns.hpp"

namespace moesaic::trace {
namespace {

constexpr std::uint64_t kPieceCounts = 32'768;
constexpr std::uint64_t kPiecesPerChunk = 64;

/// In the order of their codes.
std::vector<std::string> phase_labels() {
  std::vector<std::string> labels;
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill, Phase::kAll}) labels.emplace_back(name(phase));
  return labels;
}

template <class T>
Result<std::vector<T>> read_rows(io::FileSystem& files, const std::string& folder, std::uint64_t expected) {
  MOESAIC_ASSIGN(const io::ZarrReader reader, io::ZarrReader::open(files, folder));
  if (reader.array().shape[0] != expected) {
    return bad_input(
        fmt::format("{}: {} rows, expected {} as in \"counts\"", folder, reader.array().shape[0], expected));
  }
  return reader.read_column<T>(limits::kMaxRequests);
}

}  // namespace

Status validate(const std::vector<CountRow>& rows, const RequestTable& requests, const std::string& where) {
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const CountRow& row = rows[r];
    const bool known = row.request == kNoRequest || row.request < requests.size();
    if (!known || row.domain >= requests.domains.size()) {
      return bad_input(
          fmt::format("{}: count row {} is of request {} and domain {}, expected below {} and {}", where, r,
                      row.request, row.domain, requests.size(), requests.domains.size()));
    }
  }
  return {};
}

Status write_count_rows(io::FileSystem& files, const std::string& store, const std::vector<CountRow>& rows,
                        std::map<std::string, ArrayContent>& arrays) {
  std::vector<std::uint32_t> request, window;
  std::vector<std::uint8_t> phase;
  std::vector<std::uint16_t> domain;
  std::vector<std::uint64_t> tokens;
  for (const CountRow& row : rows) {
    request.push_back(row.request);
    window.push_back(row.window);
    phase.push_back(static_cast<std::uint8_t>(row.phase));
    domain.push_back(row.domain);
    tokens.push_back(row.tokens);
  }
  MOESAIC_TRY(write_store_column(files, store, "row/request", request, arrays));
  MOESAIC_TRY(write_store_column(files, store, "row/window", window, arrays));
  MOESAIC_TRY(write_store_column(files, store, "row/phase", phase, arrays, labels_json(phase_labels())));
  MOESAIC_TRY(write_store_column(files, store, "row/domain", domain, arrays));
  MOESAIC_TRY(write_store_column(files, store, "row/tokens", tokens, arrays));
  return write_group(files, io::join_path(store, "row"), {});
}

Result<std::vector<CountRow>> read_count_rows(io::FileSystem& files, const std::string& store,
                                              std::uint64_t expected, const RequestTable& requests) {
  const std::string folder = io::join_path(store, "row");
  MOESAIC_TRY(check_group(files, folder));
  MOESAIC_ASSIGN(const auto request, read_rows<std::uint32_t>(files, folder + "/request", expected));
  MOESAIC_ASSIGN(const auto window, read_rows<std::uint32_t>(files, folder + "/window", expected));
  MOESAIC_ASSIGN(const auto phase, read_rows<std::uint8_t>(files, folder + "/phase", expected));
  MOESAIC_ASSIGN(const auto domain, read_rows<std::uint16_t>(files, folder + "/domain", expected));
  MOESAIC_ASSIGN(const auto tokens, read_rows<std::uint64_t>(files, folder + "/tokens", expected));
  std::vector<CountRow> rows(request.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (phase[r] > static_cast<std::uint8_t>(Phase::kAll)) {
      return bad_input(fmt::format("{}/phase: row {} has code {}, expected 0 to 2", folder, r, phase[r]));
    }
    rows[r] = {.request = request[r],
               .window = window[r],
               .phase = static_cast<Phase>(phase[r]),
               .domain = domain[r],
               .tokens = tokens[r]};
  }
  MOESAIC_TRY(validate(rows, requests, folder));
  return rows;
}

io::ZarrArray counts_array(std::uint64_t rows, const ModelShape& shape, CountUnit unit) {
  const std::uint64_t layers = shape.layers.size(), experts = shape.experts;
  const std::uint64_t piece_rows = std::max<std::uint64_t>(1, kPieceCounts / (layers * experts));
  return {.type = unit == CountUnit::kTokens ? io::ZarrType::kInt64 : io::ZarrType::kFloat32,
          .shape = {rows, layers, experts},
          .chunk = {piece_rows * kPiecesPerChunk, layers, experts},
          .inner = {piece_rows, layers, experts},
          .attributes = {}};
}

}  // namespace moesaic::trace
