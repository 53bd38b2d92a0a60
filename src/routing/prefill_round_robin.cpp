#include "routing/prefill_fleet.hpp"
#include "routing/prefill_policies.hpp"

namespace moesaic::routing {
namespace {

class PrefillRoundRobin final : public PrefillFleetPolicy {
 public:
  std::string_view name() const override { return "round-robin"; }

 private:
  Choice choose(const Request&) override { return {fleet_.next_up(turn_), Reason::kChance}; }

  std::uint32_t turn_ = 0;
};

}  // namespace

std::unique_ptr<PrefillPolicy> make_prefill_round_robin() { return std::make_unique<PrefillRoundRobin>(); }

}  // namespace moesaic::routing
