#include "routing/group.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/check.hpp"
#include "routing/fleet.hpp"
#include "solve/balanced_choice.hpp"

namespace moesaic::routing {
namespace {

class Group final : public FleetPolicy {
 public:
  explicit Group(GroupOptions options)
      : options_(std::move(options)), scores_(homes()), loads_(homes()), shares_(homes()), served_(homes()) {}

  std::string_view name() const override { return "group"; }

  void worker_up(const Worker& worker, Nanoseconds at) override {
    if (const auto known = fleet_.find(worker.id)) --served_[home_[*known]];
    FleetPolicy::worker_up(worker, at);
    const std::uint32_t slot = *fleet_.find(worker.id);
    home_.resize(fleet_.slots().size());
    home_[slot] = worker.home && *worker.home < homes()
                      ? *worker.home
                      : static_cast<std::uint32_t>(std::ranges::min_element(served_) - served_.begin());
    ++served_[home_[slot]];
  }

  void worker_down(WorkerId worker, Nanoseconds at) override {
    if (const auto known = fleet_.find(worker)) --served_[home_[*known]];
    FleetPolicy::worker_down(worker, at);
  }

 private:
  std::size_t homes() const { return options_.assigner.targets(); }

  Choice choose(const Request& request, Nanoseconds) override {
    const std::int64_t kv = expected_kv(request);
    if (request.counts.empty() ||
        request.counts.size() != options_.layer_rows * options_.assigner.space.experts) {
      return {fleet_.least_loaded(kv), Reason::kFallback};
    }
    signature::scores(options_.assigner, request.counts, scores_);
    std::ranges::fill(loads_, 0.0);
    std::ranges::fill(shares_, 0.0);
    const bool any_room = !fleet_.full(fleet_.least_loaded(kv), kv);
    for (std::uint32_t slot = 0; slot < home_.size(); ++slot) {
      if (!fleet_.slots()[slot].up) continue;
      const std::uint32_t home = home_[slot];
      loads_[home] += static_cast<double>(fleet_.slots()[slot].in_flight());
      if (!any_room || !fleet_.full(slot, kv)) shares_[home] = options_.assigner.capacities[home];
    }
    const std::size_t home =
        solve::balanced_choice(scores_, loads_, shares_, options_.slack, options_.grace_requests);
    return {fleet_.least_loaded(kv, [&](std::uint32_t slot) { return home_[slot] == home; }),
            Reason::kSignature};
  }

  GroupOptions options_;
  std::vector<double> scores_, loads_, shares_;  ///< by home
  std::vector<std::uint32_t> served_;            ///< workers up, by home
  std::vector<std::uint32_t> home_;              ///< by slot
};

}  // namespace

std::unique_ptr<DecodePolicy> make_group(GroupOptions options) {
  MOESAIC_CHECK(signature::validate(options.assigner).has_value() && options.assigner.targets() > 0);
  return std::make_unique<Group>(std::move(options));
}

}  // namespace moesaic::routing
