// The rows of a counts store as columns under row/ (docs/store.md), and the layout of its counts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "io/files.hpp"
#include "io/zarr_metadata.hpp"
#include "trace/store_header.hpp"
#include "trace/trace.hpp"

namespace moesaic::trace {

/// Requests and domains that exist. Errors name `where` and the row.
Status validate(const std::vector<CountRow>& rows, const RequestTable& requests, const std::string& where);

Status write_count_rows(io::FileSystem& files, const std::string& store, const std::vector<CountRow>& rows,
                        std::map<std::string, ArrayContent>& arrays);
/// Reads `expected` rows and validates them.
Result<std::vector<CountRow>> read_count_rows(io::FileSystem& files, const std::string& store,
                                              std::uint64_t expected, const RequestTable& requests);

/// [rows, L, E] of int64 or float32; some 32,768 counts a piece, 64 pieces a file.
io::ZarrArray counts_array(std::uint64_t rows, const ModelShape& shape, CountUnit unit);

}  // namespace moesaic::trace
