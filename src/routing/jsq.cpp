#include "routing/decode_policies.hpp"
#include "routing/fleet.hpp"

namespace moesaic::routing {
namespace {

class Jsq final : public FleetPolicy {
 public:
  std::string_view name() const override { return "jsq"; }

 private:
  Choice choose(const Request& request, Nanoseconds) override {
    return {fleet_.least_loaded(expected_kv(request)), Reason::kLoad};
  }
};

}  // namespace

std::unique_ptr<DecodePolicy> make_jsq() { return std::make_unique<Jsq>(); }

}  // namespace moesaic::routing
