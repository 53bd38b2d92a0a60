// cluster.yaml: what is simulated, in the form people write (docs/simulate.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "artifact/router.hpp"
#include "core/config.hpp"
#include "core/result.hpp"
#include "core/selection.hpp"
#include "cost/model_preset.hpp"
#include "io/files.hpp"
#include "simulate/cluster.hpp"

namespace moesaic::simulate {

/// How the offered load of a sweep is said.
enum class LoadUnit {
  kRates,    ///< requests a second
  kLoads,    ///< share of decode_capacity()
  kRunning,  ///< requests a decoder, see rate_that_runs()
};

struct ClusterFile {
  std::string trace{};     ///< path, as given or beside the cluster's file
  std::size_t one_in = 2;  ///< requests simulated; policies learn from the others
  std::uint64_t split_seed = 0;
  PredictFrom predict_from{};
  std::size_t predict_folds = 0;  ///< of the served requests that also teach, see fit_foretellers()
  Cluster cluster{};
  bool eldr_balanced = true;  ///< ELDR's first centroids; refits are always balanced
  /// Layers and first centroids of `eldr` and `eldr-static`; absent: fitted on the requests learnt from.
  std::optional<artifact::Router> router{};
  std::string router_path{};
  LoadUnit unit = LoadUnit::kRates;
  std::vector<double> loads{};
  std::vector<std::string> policies{};
  std::uint64_t seeds = 10, first_seed = 0;
};

/// Reads the plan, router and arrivals that the file names. Paths that are not absolute start at the file's
/// folder. Errors (bad input) name file, line and key.
Result<ClusterFile> read_cluster_file(io::FileSystem& files, const std::string& path);

}  // namespace moesaic::simulate
