// Imports in memory: sources as text, stores read back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ingest/importer.hpp"
#include "io/memory_files.hpp"
#include "trace/trace.hpp"

namespace moesaic::ingest {

inline void put(io::FileSystem& files, const std::string& path, std::string_view text) {
  ASSERT_TRUE(files.make_directories(io::parent_path(path)));
  const Status status = io::write_file_atomically(files, path, text, true);
  ASSERT_TRUE(status) << status.error().message;
}

/// One moe-trace request of one MoE layer (1 of 3), k = 1: `prefill` rows, then decode steps.
inline std::string small_request(const std::vector<int>& ids, std::size_t prefill) {
  std::string out = "[{\"0\": null, \"1\": [";
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i < prefill) {
      out += (i == 0 ? "[" : ",[") + std::to_string(ids[i]) + "]";
    } else {
      out += i == prefill ? "], \"2\": null}" : "";
      out += ",{\"0\": null, \"1\": [[" + std::to_string(ids[i]) + "]], \"2\": null}";
    }
  }
  if (ids.size() <= prefill) out += "], \"2\": null}";
  return out + "]";
}

inline Result<ImportSummary> import_to(io::FileSystem& files, const std::vector<std::string>& sources,
                                       ImportOptions options = {}) {
  if (options.output.empty()) options.output = "out.zarr";
  return import_trace(files, sources, options);
}

/// All experts of layer row `layer`, -1 where missing.
inline std::vector<int> layer_of(const trace::Trace& trace, std::size_t layer) {
  std::vector<ExpertId> ids(trace.tokens() * trace.shape().top_k);
  EXPECT_TRUE(trace.read_layer(layer, 0, trace.tokens(), ids));
  std::vector<int> out;
  for (ExpertId id : ids) out.push_back(id == kMissingExpert ? -1 : static_cast<int>(index(id)));
  return out;
}

/// Rows counted over all layers and count rows.
inline double total_of(const trace::Trace& trace) {
  double total = 0;
  std::vector<double> counts(trace.shape().layers.size() * trace.shape().experts);
  for (std::size_t row = 0; row < trace.count_rows().size(); ++row) {
    EXPECT_TRUE(trace.read_counts(row, counts));
    for (double count : counts) total += count;
  }
  return total;
}

}  // namespace moesaic::ingest
