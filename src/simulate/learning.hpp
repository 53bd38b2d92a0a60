// Recorded requests in two parts: those that are served, and those that whoever decides learns from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/result.hpp"
#include "core/selection.hpp"
#include "core/thread_pool.hpp"
#include "routing/decode_policies.hpp"
#include "signature/prediction.hpp"
#include "simulate/recording.hpp"
#include "trace/trace.hpp"

namespace moesaic::simulate {

struct RecordingSplit {
  std::size_t one_in = 2;  ///< requests served (RequestSet::kHeldout); the others are learnt from (kTrain)
  std::uint64_t seed = 0;
  PredictFrom predict_from{};
};

/// Errors (bad input): a store of counts, and those of read_recording().
Result<Recording> read_part(const trace::Trace& trace, const RecordingSplit& split, RequestSet set,
                            ThreadPool& pool);

/// [requests, L, E]: decode positions that activate each expert.
std::vector<float> decode_counts(const Recording& recording);

/// What prefills foretell of decodes, in the recording. REQUIRES: requests, with counts and shares.
signature::Predictor fit_predictor(const Recording& training, ThreadPool& pool);

/// What fit_policies() found.
struct PolicyFit {
  double eldr_rho = 0;          ///< of the layers chosen for ELDR's signatures, on the training requests
  std::size_t eldr_layers = 0;  ///< how many
};

/// Fills in what `policies` learn from recorded requests: marginal's predictor; ELDR's layers, and first
/// centroids for so many decoders (`balanced`: no cluster above its share). Deterministic at any thread
/// count. Errors (bad input): fewer requests than decoders. REQUIRES: as fit_predictor().
Result<PolicyFit> fit_policies(const Recording& training, std::size_t decoders, bool balanced,
                               routing::DecodePolicyConfig& policies, ThreadPool& pool);

}  // namespace moesaic::simulate
