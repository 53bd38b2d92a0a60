#include "core/random.hpp"
#include "routing/decode_policies.hpp"
#include "routing/fleet.hpp"

namespace moesaic::routing {
namespace {

class Random final : public FleetPolicy {
 public:
  explicit Random(std::uint64_t seed) : random_(seed) {}
  std::string_view name() const override { return "random"; }

 private:
  Choice choose(const Request&, Nanoseconds) override {
    return {fleet_.nth_up(random_.below(static_cast<std::uint32_t>(fleet_.up_count()))), Reason::kChance};
  }

  Pcg32 random_;
};

}  // namespace

std::unique_ptr<DecodePolicy> make_random(std::uint64_t seed) { return std::make_unique<Random>(seed); }

}  // namespace moesaic::routing
