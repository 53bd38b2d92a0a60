#include "routing/domain.hpp"

#include <numeric>

#include "routing/fleet.hpp"

namespace moesaic::routing {
namespace {

/// Stretches that touch a worker by less than this share of it do not use it.
constexpr double kSliver = 1e-9;

class Domain final : public FleetPolicy {
 public:
  explicit Domain(const DomainOptions& options) : ends_(options.shares.size()) {
    std::partial_sum(options.shares.begin(), options.shares.end(), ends_.begin());
  }
  std::string_view name() const override { return "domain"; }

 private:
  Choice choose(const Request& request, Nanoseconds) override {
    const std::int64_t kv = expected_kv(request);
    if (!request.domain || *request.domain >= ends_.size() || !(ends_.back() > 0)) {
      return {fleet_.least_loaded(kv), Reason::kFallback};
    }
    const double scale = static_cast<double>(fleet_.up_count()) / ends_.back();
    const double begin = *request.domain == 0 ? 0 : ends_[*request.domain - 1] * scale;
    const double end = ends_[*request.domain] * scale;
    double position = 0;  // of the worker on the line, in slot order
    const std::uint32_t slot = fleet_.least_loaded(kv, [&](std::uint32_t) {
      const double left = position;
      position += 1;
      return left < end - kSliver && left + 1 > begin + kSliver;
    });
    // A domain without traffic has no stretch.
    return slot == Fleet::kNone ? Choice{fleet_.least_loaded(kv), Reason::kFallback}
                                : Choice{slot, Reason::kDomain};
  }

  std::vector<double> ends_;  ///< running sums of the shares
};

}  // namespace

std::unique_ptr<DecodePolicy> make_domain(const DomainOptions& options) {
  return std::make_unique<Domain>(options);
}

}  // namespace moesaic::routing
