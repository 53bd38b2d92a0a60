#include "routing/decode_policies.hpp"
#include "routing/fleet.hpp"

namespace moesaic::routing {
namespace {

class RoundRobin final : public FleetPolicy {
 public:
  std::string_view name() const override { return "round-robin"; }

 private:
  Choice choose(const Request&, Nanoseconds) override { return {fleet_.next_up(turn_), Reason::kChance}; }

  std::uint32_t turn_ = 0;
};

}  // namespace

std::unique_ptr<DecodePolicy> make_round_robin() { return std::make_unique<RoundRobin>(); }

}  // namespace moesaic::routing
