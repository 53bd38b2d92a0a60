#include "routing/prefill_fleet.hpp"
#include "routing/prefill_policies.hpp"

namespace moesaic::routing {
namespace {

class LeastLoaded final : public PrefillFleetPolicy {
 public:
  std::string_view name() const override { return "least-loaded"; }

 private:
  Choice choose(const Request& request) override {
    return {fleet_.least_loaded(request.prompt_tokens), Reason::kLoad};
  }
};

}  // namespace

std::unique_ptr<PrefillPolicy> make_prefill_least_loaded() { return std::make_unique<LeastLoaded>(); }

}  // namespace moesaic::routing
