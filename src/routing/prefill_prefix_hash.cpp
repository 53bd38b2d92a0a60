#include "core/check.hpp"
#include "core/random.hpp"
#include "routing/prefill_fleet.hpp"
#include "routing/prefill_policies.hpp"

namespace moesaic::routing {
namespace {

class PrefixHash final : public PrefillFleetPolicy {
 public:
  explicit PrefixHash(const PrefixHashOptions& options) : options_(options) {
    MOESAIC_CHECK(options.max_over_mean > 1);
  }
  std::string_view name() const override { return "prefix-hash"; }

 private:
  Choice choose(const Request& request) override {
    if (request.prefix_hash == 0) return {fleet_.least_loaded(request.prompt_tokens), Reason::kFallback};
    std::uint64_t total = request.prompt_tokens;
    for (const Fleet::Slot& slot : fleet_.slots()) total += slot.load;
    const double bound =
        options_.max_over_mean * static_cast<double>(total) / static_cast<double>(fleet_.up_count());
    std::uint32_t best = Fleet::kNone;
    std::uint64_t best_hash = 0;
    for (std::uint32_t i = 0; i < fleet_.slots().size(); ++i) {
      const Fleet::Slot& slot = fleet_.slots()[i];
      // A worker at or below the mean always has room, so one is always found.
      if (!slot.up || static_cast<double>(slot.load) > bound) continue;
      const std::uint64_t hash = counter_hash({request.prefix_hash, static_cast<std::uint64_t>(slot.id)});
      if (best == Fleet::kNone || hash > best_hash) best = i, best_hash = hash;
    }
    return {best, Reason::kPrefix};
  }

  PrefixHashOptions options_;
};

}  // namespace

std::unique_ptr<PrefillPolicy> make_prefill_prefix_hash(const PrefixHashOptions& options) {
  return std::make_unique<PrefixHash>(options);
}

}  // namespace moesaic::routing
