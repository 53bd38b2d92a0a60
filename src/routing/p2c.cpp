#include "core/random.hpp"
#include "routing/decode_policies.hpp"
#include "routing/fleet.hpp"

namespace moesaic::routing {
namespace {

class PowerOfTwoChoices final : public FleetPolicy {
 public:
  explicit PowerOfTwoChoices(std::uint64_t seed) : random_(seed) {}
  std::string_view name() const override { return "p2c"; }

 private:
  Choice choose(const Request& request, Nanoseconds) override {
    const auto workers = static_cast<std::uint32_t>(fleet_.up_count());
    const std::uint32_t first = random_.below(workers);
    if (workers == 1) return {fleet_.nth_up(0), Reason::kLoad};
    const std::uint32_t second = (first + 1 + random_.below(workers - 1)) % workers;
    const std::uint32_t a = fleet_.nth_up(first), b = fleet_.nth_up(second);
    return {fleet_.lighter(b, a, expected_kv(request)) ? b : a, Reason::kLoad};
  }

  Pcg32 random_;
};

}  // namespace

std::unique_ptr<DecodePolicy> make_p2c(std::uint64_t seed) {
  return std::make_unique<PowerOfTwoChoices>(seed);
}

}  // namespace moesaic::routing
