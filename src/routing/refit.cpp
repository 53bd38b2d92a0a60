#include "core/check.hpp"
#include "routing/policy.hpp"
#include "solve/balanced_kmeans.hpp"

namespace moesaic::routing {

RefitResult run_refit(const RefitJob& job, ThreadPool& pool) {
  MOESAIC_CHECK(job.clusters > 0 && job.signatures.rows() > 0);
  auto fitted = solve::kmeans(job.signatures,
                              {.clusters = job.clusters, .initial = job.initial, .seed = job.seed}, pool);
  MOESAIC_CHECK(fitted.has_value());  // ceil(items / clusters) each always suffices
  return {job.version, std::move(fitted->centroids)};
}

bool DecodePolicy::observed(WorkerId, std::span<const float>, Nanoseconds) { return false; }
void DecodePolicy::learnt(const signature::Predictor&, Nanoseconds) {}
std::optional<RefitJob> DecodePolicy::recorded(std::span<const std::span<const float>>, Nanoseconds) {
  return std::nullopt;
}

}  // namespace moesaic::routing
