// A trace's requests parted into those a plan is made on and those it is scored on, with homes for both:
// the first grouped offline, the others given homes online by the assigner the first have taught.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/homes.hpp"
#include "core/result.hpp"
#include "core/selection.hpp"
#include "core/thread_pool.hpp"
#include "core/topology.hpp"
#include "evaluate/selected_tokens.hpp"
#include "evaluate/unseen_homes.hpp"
#include "signature/assigner.hpp"
#include "trace/trace.hpp"

namespace moesaic::planning {

struct SplitOptions {
  Topology topology;
  Attention attention = Attention::kDataParallel;
  RequestSet planned_on = RequestSet::kTrain;  ///< kAll: everything is planned on *and* scored (in sample)
  std::uint64_t seed = 0;                      ///< of the held-out split
  Phase phase = Phase::kDecode;
  PredictFrom from = {};
  evaluate::UnseenOptions unseen;
  std::vector<std::uint16_t> domains = {};  ///< only requests of these (codes); empty = all
  /// The same of the requests that are scored, where they are to be of other domains; empty = `domains`.
  std::vector<std::uint16_t> scored_domains = {};
  std::vector<std::uint32_t> left_out = {};  ///< rows that are neither planned on nor scored, ascending
  double learn_share = 1;  ///< in (0, 1]: of the planned requests that are left, in each domain (thinned())
  /// Homes of planned and scored requests both come from this one, online; no new groups are made. For
  /// changing a running plan, whose KV caches and groups stay. nullptr = group.
  const signature::Assigner* assigner = nullptr;
};

/// REQUIRES: the trace outlives this. Immutable after make().
class Split {
 public:
  /// Errors (bad input): no requests, fewer requests than homes, nothing to score.
  static Result<Split> make(const trace::Trace& trace, const SplitOptions& options, ThreadPool& pool);

  const SplitOptions& options() const { return options_; }
  const evaluate::SelectedTokens& planned() const { return *planned_; }
  const evaluate::SelectedTokens& scored() const { return *scored_; }
  const Homes& planned_homes() const { return planned_homes_; }
  const Homes& scored_homes() const { return scored_homes_; }
  const signature::Assigner& assigner() const { return assigner_; }
  /// Rows of the planned tokens, [L, E].
  const std::vector<double>& loads() const { return loads_; }
  bool in_sample() const { return options_.planned_on == RequestSet::kAll; }

 private:
  Split() = default;
  /// Homes and assigner from the planned requests (arXiv:2604.23150, section 4.1); what is returned gives
  /// those that are scored their homes: the same assigner, or with kTold the one for known decodes.
  Result<signature::Assigner> group(ThreadPool& pool);

  SplitOptions options_;
  std::unique_ptr<evaluate::SelectedTokens> planned_, scored_;
  Homes planned_homes_, scored_homes_;
  signature::Assigner assigner_;
  std::vector<double> loads_;
};

}  // namespace moesaic::planning
