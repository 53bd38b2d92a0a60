// Routing policies are state machines without sockets, clocks or threads: events carry their time, the
// answer to `admit` is a decision, and long work is a value (RefitJob) that the owner runs elsewhere and
// returns as an event. The gateway and the simulator run the same objects. Not thread-safe: one owner.
//
// A request passes two policies. The prefill policy places it when it arrives. The decode policy places it
// when its prefill is done and its expert usage is known; engines that fix the decoder earlier call admit
// earlier, without usage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/ids.hpp"
#include "core/thread_pool.hpp"
#include "signature/prediction.hpp"
#include "solve/sparse_rows.hpp"

namespace moesaic::routing {

/// A worker, for as long as it lives: a restarted one may come back under its id after worker_down.
enum class WorkerId : std::uint32_t {};
enum class RequestId : std::uint64_t {};

struct Worker {
  WorkerId id{};
  std::uint32_t max_running = 0;  ///< requests in one batch; more wait. 0: no limit
  std::int64_t kv_capacity = 0;   ///< tokens of KV cache. 0: no limit
  std::size_t ranks = 1;          ///< GPUs with expert parallelism
  /// [L, E]: the rank that holds an expert (its first copy); empty when ranks == 1.
  std::vector<std::uint16_t> rank_of_expert{};
  std::optional<std::uint32_t> home{};  ///< of a plan that it serves, for the policy `group` alone
};

struct Request {
  RequestId id{};
  std::uint32_t prompt_tokens = 0;
  std::uint32_t expected_output_tokens = 0;  ///< 0: not known
  /// [L, E] tokens of the prefill that chose each expert; empty: no usage is known. The span need live
  /// only during the call.
  std::span<const float> counts{};
  std::uint32_t counted_tokens = 0;  ///< tokens that `counts` counts, >= 1 when it is not empty
  /// [L, E] probability that one decode token activates each expert, when somebody knows better than a
  /// prediction from `counts` (an oracle in evaluations, a classifier of prompts).
  std::span<const float> probabilities{};
  std::optional<std::uint32_t> domain{};  ///< label, for the policy `domain` alone
  std::uint64_t prefix_hash = 0;          ///< of the prompt's first blocks, for prefix-aware prefill
};

enum class Reason {
  kNoWorker,   ///< no worker is up
  kLoad,       ///< by load alone, as the policy does
  kChance,     ///< by chance or turn
  kSignature,  ///< by expert usage
  kDomain,     ///< by label
  kPrefix,     ///< by the prompt's prefix
  kFallback,   ///< by load, because the request had no usage, label or known prefix
};

/// Share of a request's expected experts that the batch it joins reads anyway, in [0, 1].
struct Locality {
  double here = 0;
  double mean = 0;  ///< at a worker taken at random: one that is up (`marginal`: one that it priced)
};

struct Decision {
  std::optional<WorkerId> worker;  ///< empty: kNoWorker
  Reason reason = Reason::kNoWorker;
  std::optional<Locality> locality{};  ///< of policies that keep experts, where usage is known
};

/// A worker's own report: requests it runs and waits for, whoever sent them.
struct WorkerLoad {
  std::uint32_t requests = 0;
};

/// Clustering of recent signatures, to be run anywhere with run_refit().
struct RefitJob {
  std::uint64_t version = 0;  ///< of the set of workers it was made for
  std::size_t clusters = 0;
  solve::SparseRows signatures{};  ///< of unit length
  std::vector<float> initial{};    ///< [clusters, width], or empty: k-means++
  std::uint64_t seed = 0;
};

struct RefitResult {
  std::uint64_t version = 0;
  std::vector<float> centroids;  ///< [clusters, width]
};

/// Balanced spherical K-means of the job. Pure: same job, same bytes, at any thread count.
RefitResult run_refit(const RefitJob& job, ThreadPool& pool);

class DecodePolicy {
 public:
  virtual ~DecodePolicy() = default;
  virtual std::string_view name() const = 0;

  /// A worker joins, or changes its limits.
  virtual void worker_up(const Worker& worker, Nanoseconds at) = 0;
  /// A worker left; its requests are forgotten and may be admitted again. Unknown ids are ignored.
  virtual void worker_down(WorkerId worker, Nanoseconds at) = 0;
  /// A worker said how much it runs. What this policy did not send counts as load of others.
  virtual void worker_load(WorkerId worker, const WorkerLoad& load, Nanoseconds at) = 0;
  /// Requests of this policy that are there now; 0 for unknown workers.
  virtual std::uint32_t in_flight(WorkerId worker) const = 0;

  /// Places a request. One that is known already is placed anew.
  virtual Decision admit(const Request& request, Nanoseconds at) = 0;
  /// Its first decode token came out. Unknown ids are ignored, here and in finished().
  virtual void first_token(RequestId request, Nanoseconds at) = 0;
  /// It ended, for whatever reason.
  virtual void finished(RequestId request, Nanoseconds at) = 0;
  /// What a request that ended there truly activated: [L, E] shares of its decode tokens, where the engine
  /// tells (routed experts in its answer). May come long after finished(). Whether it was remembered:
  /// policies without a memory, unknown workers and shares of another size remember nothing.
  virtual bool observed(WorkerId worker, std::span<const float> shares, Nanoseconds at);

  /// Whether the policy knows what batches read: then decisions tell a locality, and it can be asked.
  virtual bool keeps_experts() const { return false; }
  /// Distinct experts that a step of that worker is expected to read, over its layers; 0 for unknown workers.
  virtual double expected_experts(WorkerId) const { return 0; }

  /// Called now and then; returns work when it is due. At most one job is out at a time.
  virtual std::optional<RefitJob> tick(Nanoseconds at) = 0;
  /// The result of a job, or nothing when it failed.
  virtual void refitted(const std::optional<RefitResult>& result, Nanoseconds at) = 0;

  /// Recorded requests, fitted elsewhere, taught what prefills foretell of decodes: for requests that come
  /// from now on. Policies that predict nothing, or another size, ignore it. REQUIRES: a valid predictor.
  virtual void learnt(const signature::Predictor& predictor, Nanoseconds at);
  /// Recorded requests, [L, E] counts of each, the oldest first: for a policy that lives on recent requests
  /// and has too few. May return a job, as tick() does; then one is out.
  virtual std::optional<RefitJob> recorded(std::span<const std::span<const float>> counts, Nanoseconds at);
};

class PrefillPolicy {
 public:
  virtual ~PrefillPolicy() = default;
  virtual std::string_view name() const = 0;
  virtual void worker_up(const Worker& worker, Nanoseconds at) = 0;
  virtual void worker_down(WorkerId worker, Nanoseconds at) = 0;
  virtual Decision admit(const Request& request, Nanoseconds at) = 0;
  virtual void prefill_done(RequestId request, Nanoseconds at) = 0;
};

}  // namespace moesaic::routing
