// Every load x policy x seed of a cluster file, on all cores, and what the seeds say together.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "io/files.hpp"
#include "simulate/cluster_file.hpp"
#include "simulate/estimate.hpp"
#include "simulate/recording.hpp"
#include "simulate/simulation.hpp"

namespace moesaic::simulate {

/// One run in figures.
struct Figures {
  double ttft_p50_ms = 0, ttft_p99_ms = 0;
  double tpot_p50_ms = 0, tpot_p95_ms = 0, tpot_p99_ms = 0;
  double active_experts_per_step = 0;
  double running = 0;            ///< sequences a step
  double tokens_per_second = 0;  ///< output of the measured stretch
  double busiest_over_mean = 0;  ///< tokens of the decoder that made most
  double requests = 0, held = 0, fallbacks = 0;
  double restarted = 0;                     ///< times that a request lost its decoder
  std::vector<double> decoder_over_mean{};  ///< output tokens by decoder, over their mean
};
/// Percentiles are nearest-rank over the measured requests (TPOT: over those of two tokens or more).
Figures figures_of(const RunResult& result, Nanoseconds measure);

struct PolicyOutcome {
  std::string name{};
  std::vector<Figures> runs{};  ///< by seed
};
struct LoadOutcome {
  double load = 0, rate = 0;  ///< as asked; requests a second
  std::vector<PolicyOutcome> policies{};
};
struct SweepOutcome {
  std::size_t requests = 0, training_requests = 0;
  double capacity = 0;
  double eldr_rho = 0;  ///< Spearman's rho of the layers eldr compares, on the training requests
  std::size_t eldr_layers = 0;
  std::vector<LoadOutcome> loads{};
  std::vector<std::string> notes{};  ///< full sentences for the reader
};

/// Fits what policies know (predictor, ELDR's layers and first centroids) on the requests that are not
/// simulated, then runs everything. Same bytes at any thread count. Errors: those of the trace; bad input
/// when it does not fit the file.
Result<SweepOutcome> sweep(io::FileSystem& files, const ClusterFile& file, ThreadPool& pool);

/// Of one figure: its estimate, and that of its relative change against `base`, seed by seed.
Estimate estimate(const PolicyOutcome& policy, double Figures::* figure);
Estimate change(const PolicyOutcome& policy, const PolicyOutcome& base, double Figures::* figure);

/// Schema moesaic.simulate/1 (docs/schemas/simulate.schema.json).
Json to_json(const SweepOutcome& outcome, const ClusterFile& file);

}  // namespace moesaic::simulate
