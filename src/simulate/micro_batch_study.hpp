// What micro-batches would save: recorded requests in flight, of which a few run at a time.
//
// `pool` requests are in flight and wait in one line. A micro-batch of some of them runs `steps` decode
// steps, then its requests go to the end of the line; one that ends leaves, and another recorded request
// takes its place. Every policy picks from the same pool under the same bound of waiting; what a step reads
// is what the recorded tokens of that very step activate. With several homes (GPUs of a plan) each takes a
// batch in turn, and copies between nodes are counted as well.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "grouping/expected_copies.hpp"
#include "grouping/micro_batches.hpp"
#include "simulate/estimate.hpp"
#include "simulate/learning.hpp"
#include "simulate/recording.hpp"

namespace moesaic::simulate {

/// Who picks.
enum class Picker {
  kFifo,      ///< first in, first out: the baseline
  kExpected,  ///< grouping::MicroBatcher on what the prefill predicts
  kObserved,  ///< the same, the prediction also sees the decode steps that the request has run
  kOracle,    ///< greedy union of what the requests will truly activate in these very steps
};
inline constexpr Picker kPickers[] = {Picker::kFifo, Picker::kExpected, Picker::kObserved, Picker::kOracle};
/// "fifo", "expected", "observed", "oracle".
std::string_view name(Picker picker);

struct StudyOptions {
  grouping::MicroBatchOptions batch{};  ///< the pool is also what is in flight
  std::size_t steps = 16;               ///< that a micro-batch runs
  std::size_t batches = 400;            ///< of a run
};

/// One run in figures.
struct StudyFigures {
  double experts_per_step = 0;   ///< distinct (layer, expert)
  double requests_per_step = 0;  ///< that run: below the batch's size where a request ends before the others
  double node_copies_per_token = 0;        ///< all layers; 0 without a plan
  double mean_wait = 0, longest_wait = 0;  ///< batches of others between two of one request
};

/// Pure. `copies` (or nullptr) is of a placement for the recording's layers and experts; the order of
/// requests comes from the seed and is the same for every picker. REQUIRES: foretellers for the recording;
/// requests, steps and batches > 0; batch.requests <= batch.pool < recording.requests.size().
StudyFigures run_study(const Recording& recording, const Foretellers& foretellers,
                       const grouping::ExpectedCopies* copies, const StudyOptions& options, Picker picker,
                       std::uint64_t seed);

struct StudyOutcome {
  StudyOptions options{};
  std::vector<std::vector<StudyFigures>> of_picker{};  ///< [kPickers, seeds]

  Estimate estimate(Picker picker, double StudyFigures::* figure) const;
  Estimate change(Picker picker, double StudyFigures::* figure) const;  ///< against kFifo, seed by seed
};

/// Every option x picker x seed (first_seed, first_seed + 1, …), on all cores. Same bytes at any thread
/// count. Errors (bad input): a pool smaller than a batch, or not smaller than the recording.
Result<std::vector<StudyOutcome>> run_studies(const Recording& recording, const Foretellers& foretellers,
                                              const grouping::ExpectedCopies* copies,
                                              const std::vector<StudyOptions>& options, std::uint64_t seeds,
                                              std::uint64_t first_seed, ThreadPool& pool);

/// The list `pools` of schema moesaic.microbatch/1 (docs/schemas/microbatch.schema.json).
Json to_json(const std::vector<StudyOutcome>& outcomes, bool with_copies);

}  // namespace moesaic::simulate
