// Matrices of counts in JSON text, as two formats have them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"

namespace moesaic::ingest {

struct CountMatrix {
  std::size_t rows = 0, columns = 0;
  std::vector<double> values;  ///< [rows, columns]
};

/// A rectangular list of lists of whole numbers from 0 to 2^53. `where` names file and key in errors.
Result<CountMatrix> read_count_matrix(const Json& json, const std::string& where);

}  // namespace moesaic::ingest
