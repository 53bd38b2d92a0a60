// One micro-batch through one layer on one GPU: dispatch, experts, combine, over the ranks of a job.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "comm/comm.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"
#include "core/topology.hpp"
#include "replay/experts.hpp"
#include "replay/options.hpp"
#include "replay/wire.hpp"

namespace moesaic::replay {

/// Counted where messages arrive, by the rank that sent them.
struct Arrived {
  std::vector<std::int64_t> dispatch, combine;  ///< [ranks] bytes of hidden states
  std::vector<std::int64_t> control;            ///< [ranks] bytes of everything else
};

/// Where the time of a micro-batch went.
struct StepTimes {
  std::int64_t dispatch_ns = 0, compute_ns = 0, combine_ns = 0;
  std::int64_t wait_ns = 0;  ///< for the slowest rank, before dispatch and before combine
};

/// A GPU's own tokens of the micro-batch.
struct StepInput {
  std::span<const float> hidden;      ///< [tokens, hidden]
  std::size_t k = 0;                  ///< experts a token
  std::span<const ExpertId> experts;  ///< [tokens, k]; kMissingExpert: none
  std::span<const float> gates;       ///< [tokens, k]
  std::span<const GpuId> gpus;        ///< [tokens, k] who serves the row
};

struct StepResult {
  std::vector<float> combined;  ///< [tokens, hidden] sum over a token's rows of gate x expert(hidden)
  std::size_t rows = 0;         ///< this GPU's experts ran
  std::size_t distinct = 0;     ///< experts that ran any
  StepTimes times;
};

/// Carries out micro-batches. Every rank calls run() as often, in step.
class Stepper {
 public:
  /// REQUIRES: comm.size() == topology.gpus(); rank r is GPU r. All references outlive this.
  Stepper(const Topology& topology, const Options& options, comm::Comm& comm, const Clock& clock);

  /// Adds to arrived(). Errors: the communicator's.
  Result<StepResult> run(const StepInput& input, const Experts& experts);

  const Arrived& arrived() const { return arrived_; }
  void forget_arrived();

 private:
  /// Hidden states at this GPU with the rows it runs on them, and the weighted sums that come of it.
  struct Work {
    std::vector<std::uint32_t> rows_of;
    std::vector<Row> rows;
    std::vector<float> vectors;
    std::vector<float> sums;
  };
  /// What goes to one peer in the first stage, and the own tokens it is for.
  struct Outgoing {
    Copies copies;
    std::vector<std::uint32_t> token;
    std::vector<float> gate;  ///< the results are multiplied by (1 where sums come back)
  };

  /// What goes on to another GPU of this node, and (position in peers_, copy) each came from.
  struct Onward {
    Copies copies;
    std::vector<std::pair<std::size_t, std::size_t>> from;
  };
  /// A micro-batch between dispatch and combine.
  struct Transit {
    Work own;
    std::vector<std::uint32_t> own_token;
    std::vector<Outgoing> outgoing;  ///< [peers_]
    std::vector<Work> from_peers;    ///< [peers_]
    std::vector<Onward> onward;      ///< [node_peers_]
    std::vector<Work> from_node;     ///< [node_peers_], or empty
  };

  bool two_hops() const {
    return options_.mode == Mode::kDedup && !node_peers_.empty() && topology_.nodes > 1;
  }
  Status dispatch(const StepInput& input, Transit& transit);
  Result<std::vector<float>> combine(std::size_t tokens, Transit& transit);
  /// The rows of what came from peers_[peer] that run here; the others are added to `onward`.
  Work keep(Copies&& in, std::size_t peer, std::vector<Onward>& onward) const;
  /// Every row put into a copy: of the token for its node (dedup) or of its own (per-expert).
  std::vector<Outgoing> outgoing(const StepInput& input, Work& own,
                                 std::vector<std::uint32_t>& own_token) const;
  std::size_t peer_at(GpuId gpu) const { return peer_of_[index(gpu)]; }
  Result<std::vector<Copies>> send_copies(std::span<const std::size_t> peers,
                                          std::span<const Copies* const> out);
  Result<std::vector<std::vector<float>>> send_results(std::span<const std::size_t> peers,
                                                       const std::vector<std::vector<float>>& out);
  void compute(std::span<Work* const> work, const Experts& experts, StepResult& result) const;

  const Topology& topology_;
  const Options& options_;
  comm::Comm& comm_;
  const Clock& clock_;
  GpuId gpu_;
  std::vector<std::size_t> peers_;       ///< ranks that the first stage reaches from here
  std::vector<std::size_t> node_peers_;  ///< the other GPUs of this node
  std::vector<std::size_t> peer_of_;     ///< [gpus] position in peers_
  Arrived arrived_;
};

}  // namespace moesaic::replay
