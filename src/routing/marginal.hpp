// `marginal`: send a request where it adds the least time. Ours.
//
// A decode step reads the weights of every distinct expert its batch activates. For each decoder the policy
// keeps the probability that each (layer, expert) is idle in its running batch, and in the batch that it is
// expected to run later, which resembles what it got lately (routing/usage_sum.hpp). A candidate with
// activation probabilities p adds sum(idle later x p) experts to every step there; at the prices of `cost`
// that is time, which everybody in the batch pays for as long as the candidate lives, and the candidate pays
// for the whole step:
//
//   price(d) = persistence x step(d) + added(d) x (requests(d) + 1)
//
// Both terms scale with the candidate's length, which therefore drops out; whoever leaves the batch earlier
// is replaced by somebody who pays in his place. What is slow today need not be so tomorrow: while the
// candidate lives, the batch turns over and the policy itself sends fewer requests to slow decoders. Hence
// persistence below 1 (at 1 the price would be the slope of sum over decoders of requests x step time, which
// greed descends); what the candidate adds stays with it. The memory makes decoders specialise and stay so.
// A place taken by one request is not there for another: `contrast` moves the candidate's p, in the price
// alone, away from the mean request, so that it pays for what it adds beyond what others would add there, and
// what sets it apart decides before decoders have become alike. With several ranks a layer waits for its
// busiest rank, so experts are counted there. Compared with clustering (ELDR) there are no centroids to fit,
// the number of decoders is free, and what is priced is what costs time.
#pragma once

#include <cstddef>
#include <memory>

#include "cost/step_time.hpp"
#include "routing/policy.hpp"
#include "routing/usage_sum.hpp"
#include "signature/prediction.hpp"

namespace moesaic::routing {

struct MarginalOptions {
  cost::StepTime step{};
  signature::Predictor predictor{};  ///< signature::uniform_predictor() where nothing was recorded
  /// Share of a decoder's present step that counts against a newcomer. 1: as if the batch never changed;
  /// lower: more locality, worse for the last percentiles.
  double persistence = 0.7;
  /// Of what a decoder got lately, as it was foretold and, where engines tell, as it was. share 0: only the
  /// batch that runs now counts.
  UsageMemory memory{};
  /// A candidate is priced as p + contrast x (p - mean), taken to [0, 1]; once placed it counts as p.
  double contrast = 0.5;
  /// A decoder is passed over while it runs more than ahead_share x mean + ahead_requests requests more than
  /// the least loaded one: long queues cost the last percentiles more than experts save.
  double ahead_share = 0.45;
  double ahead_requests = 2;
  /// Requests in flight, over all decoders, up to which nothing is allocated.
  std::size_t reserve_requests = 1024;
};

/// Without counts or probabilities (or with some of another size than the predictor's L x E) a request is
/// placed by load and then counts as the predictor's mean; so do requests that others sent (worker_load).
/// admit() allocates nothing while at most reserve_requests are in flight. admit(): O(decoders L E).
/// Decision::locality is of what it prices: with contrast, in the batch expected later.
/// Memory: 2 bytes x L x E a reserved request, 28 bytes x L x E a decoder.
/// REQUIRES: a valid predictor; workers with several ranks give the rank of all L x E experts.
std::unique_ptr<DecodePolicy> make_marginal(MarginalOptions options);

}  // namespace moesaic::routing
