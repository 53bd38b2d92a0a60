// Homes of requests that no plan has seen: given online, in arrival order, from what their prefill shows.
#pragma once

#include "core/homes.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "core/topology.hpp"
#include "evaluate/selected_tokens.hpp"
#include "grouping/online_homes.hpp"
#include "signature/assigner.hpp"

namespace moesaic::evaluate {

struct UnseenOptions {
  grouping::AssignMode mode = grouping::AssignMode::kAfterPrefill;
  double slack = 0.1;      ///< home load <= (1 + slack) x mean so far, in requests
  std::uint64_t seed = 0;  ///< of --assign random
};

/// Homes of tokens.requests(), in that order, from the tokens predicted from, or with kTold (and an assigner
/// of such) from those that are scored. Every request counts one: its length is not known when it arrives.
/// Cost: one pass over the tokens predicted from, O(requests x homes x signature).
Result<Homes> unseen_homes(const SelectedTokens& tokens, const signature::Assigner& assigner,
                           const Topology& topology, Attention attention, const UnseenOptions& options,
                           ThreadPool& pool);

/// The homes one would give knowing all requests at once, balanced within the same slack: the oracle beside
/// the online ones.
Result<Homes> offline_homes(const SelectedTokens& tokens, const signature::Assigner& assigner,
                            const Topology& topology, Attention attention, double slack, ThreadPool& pool);

}  // namespace moesaic::evaluate
