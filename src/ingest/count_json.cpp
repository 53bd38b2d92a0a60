#include "ingest/count_json.hpp"

#include <fmt/format.h>

#include <cmath>

#include "core/limits.hpp"

namespace moesaic::ingest {

Result<CountMatrix> read_count_matrix(const Json& json, const std::string& where) {
  constexpr double kLargest = 9007199254740992.0;  // beyond 2^53 doubles skip whole numbers
  const Json::Array* rows = json.as_array();
  if (rows == nullptr || rows->empty() || rows->size() > limits::kMaxLayers) {
    return bad_input(fmt::format("{}: expected a list of 1 to {} layers, each a list of counts", where,
                                 limits::kMaxLayers));
  }
  CountMatrix out;
  out.rows = rows->size();
  for (std::size_t r = 0; r < rows->size(); ++r) {
    const Json::Array* row = (*rows)[r].as_array();
    if (row == nullptr || row->empty()) {
      return bad_input(fmt::format("{}[{}]: expected a list of counts, one an expert", where, r));
    }
    if (r == 0) out.columns = row->size();
    if (row->size() != out.columns) {
      return bad_input(fmt::format("{}[{}]: {} counts, expected {} as in the first layer", where, r,
                                   row->size(), out.columns));
    }
    for (std::size_t c = 0; c < row->size(); ++c) {
      double value = 0;
      if (!(*row)[c].to_double(value) || !(value >= 0 && value <= kLargest) || value != std::floor(value)) {
        return bad_input(fmt::format("{}[{}][{}]: expected a whole count from 0 to 2^53", where, r, c));
      }
      out.values.push_back(value);
    }
  }
  return out;
}

}  // namespace moesaic::ingest
