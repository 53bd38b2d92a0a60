// Recorded requests in two parts: those that are served, and those that whoever decides learns from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
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

/// Who foretells decodes of served requests: a predictor that has not learnt from the request itself.
struct Foretellers {
  std::vector<signature::Predictor> of_fold{};  ///< at least one

  std::size_t fold_of(std::size_t request) const { return request % of_fold.size(); }
  const signature::Predictor& of(std::size_t request) const { return of_fold[fold_of(request)]; }
};

/// folds 0: one predictor, learnt from `training`. Else cross-fitting (Chernozhukov et al. 2018): that of
/// fold f has learnt from `training` and from the served requests of other folds, as if those had been
/// recorded before. Deterministic at any thread count. Cost: max(1, folds) x signature::fit_predictor().
/// REQUIRES: folds != 1, requests in `training` (with folds it may have none where `served` has two or more);
/// recordings of one shape, with counts and shares.
Foretellers fit_foretellers(const Recording& training, const Recording& served, std::size_t folds,
                            ThreadPool& pool);

/// A sentence for the reader of figures.
std::string folds_note(std::size_t folds);

/// [requests, L, E]: what the prefill of each served request foretells of its decode.
std::vector<float> foretell(const Foretellers& foretellers, const Recording& served, ThreadPool& pool);

/// What fit_policies() found.
struct PolicyFit {
  double eldr_rho = 0;          ///< of the layers chosen for ELDR's signatures, on the training requests
  std::size_t eldr_layers = 0;  ///< how many
};

/// Fills in what `policies` learn from recorded requests: marginal's predictor; ELDR's layers, and first
/// centroids for so many decoders (`balanced`: no cluster above its share). Deterministic at any thread
/// count. Errors (bad input): fewer requests than decoders. REQUIRES: requests, with counts and shares.
Result<PolicyFit> fit_policies(const Recording& training, std::size_t decoders, bool balanced,
                               routing::DecodePolicyConfig& policies, ThreadPool& pool);

}  // namespace moesaic::simulate
