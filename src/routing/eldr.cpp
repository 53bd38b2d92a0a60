#include "routing/eldr.hpp"

#include <algorithm>
#include <deque>
#include <utility>

#include "core/check.hpp"
#include "routing/fleet.hpp"
#include "signature/dot.hpp"
#include "solve/balanced_kmeans.hpp"

namespace moesaic::routing {
namespace {

class Eldr final : public FleetPolicy {
 public:
  explicit Eldr(EldrOptions options)
      : options_(std::move(options)), signature_(options_.space.width()), given_(0) {
    MOESAIC_CHECK(options_.centroids.size() % std::max<std::size_t>(1, width()) == 0);
  }

  std::string_view name() const override { return rolling() ? "eldr" : "eldr-static"; }

  void worker_up(const Worker& worker, Nanoseconds at) override {
    const bool known = fleet_.find(worker.id).has_value();
    FleetPolicy::worker_up(worker, at);
    if (known) return;
    const std::uint32_t slot = *fleet_.find(worker.id);
    centroids_.resize(fleet_.slots().size());
    centroids_[slot].clear();
    if (given_ * width() < options_.centroids.size()) {
      const auto row = std::span(options_.centroids).subspan(given_++ * width(), width());
      centroids_[slot].assign(row.begin(), row.end());
    }
    ++version_;
  }

  void worker_down(WorkerId worker, Nanoseconds at) override {
    const auto slot = fleet_.find(worker);
    FleetPolicy::worker_down(worker, at);
    if (!slot) return;
    centroids_[*slot].clear();
    ++version_;
  }

  std::optional<RefitJob> tick(Nanoseconds at) override {
    forget_before(at - options_.window);
    const bool due = at - last_refit_ >= options_.refit_every || version_ != fitted_version_;
    if (!rolling() || job_out_ || !due || !are_enough(recent_.size())) return std::nullopt;
    last_refit_ = at;
    RefitJob job = next_job();
    for (const Recent& request : recent_) job.signatures.append(request.signature);
    return job;
  }

  std::optional<RefitJob> recorded(std::span<const std::span<const float>> counts, Nanoseconds at) override {
    forget_before(at - options_.window);
    // The window's own requests are fresher than anything recorded.
    if (!rolling() || job_out_ || are_enough(recent_.size())) return std::nullopt;
    std::vector<std::span<const float>> fit;
    for (const auto& request : counts) {
      if (request.size() == options_.layer_rows * options_.space.experts) fit.push_back(request);
    }
    if (!are_enough(fit.size())) return std::nullopt;
    RefitJob job = next_job();
    const std::size_t first = fit.size() - std::min(fit.size(), options_.max_window_requests);
    for (const auto& request : std::span(fit).subspan(first)) {
      signature::signature(options_.space, request, signature_);
      job.signatures.append(signature_);
    }
    return job;
  }

  void refitted(const std::optional<RefitResult>& result, Nanoseconds) override {
    job_out_ = false;
    // Decoders came or went meanwhile: the next tick asks again.
    if (!result || result->version != version_) return;
    const std::size_t decoders = fleet_.up_count();
    MOESAIC_CHECK(result->centroids.size() == decoders * width());
    // Decoders without a centroid stand as zeros: any new one suits them equally.
    const auto new_of_old = solve::align_centroids(centroids_in_order(), result->centroids, decoders);
    std::size_t i = 0;
    for (std::uint32_t slot = 0; slot < centroids_.size(); ++slot) {
      if (!fleet_.slots()[slot].up) continue;
      const auto row = std::span(result->centroids).subspan(new_of_old[i++] * width(), width());
      centroids_[slot].assign(row.begin(), row.end());
    }
    fitted_version_ = version_;
  }

 private:
  struct Recent {
    Nanoseconds at;
    std::vector<float> signature;
  };

  Choice choose(const Request& request, Nanoseconds at) override {
    const std::int64_t kv = expected_kv(request);
    if (request.counts.size() != options_.layer_rows * options_.space.experts || request.counts.empty()) {
      return {fleet_.least_loaded(kv), Reason::kFallback};
    }
    signature::signature(options_.space, request.counts, signature_);
    if (rolling()) remember(at);
    cosines_.assign(fleet_.slots().size(), 0);
    float best = -2, second = -2;
    for (std::uint32_t slot = 0; slot < cosines_.size(); ++slot) {
      if (!fleet_.slots()[slot].up || centroids_[slot].empty()) continue;
      cosines_[slot] = signature::dot(signature_, centroids_[slot]);
      second = std::max(second, std::min(best, cosines_[slot]));
      best = std::max(best, cosines_[slot]);
    }
    if (best < -1.5f) return {fleet_.least_loaded(kv), Reason::kFallback};  // no centroid yet
    float bar = best - static_cast<float>(options_.tau);
    if (options_.nearest_two && second > -1.5f) bar = std::min(bar, second);
    return {fleet_.least_loaded(
                kv, [&](std::uint32_t slot) { return centroids_[slot].empty() || cosines_[slot] >= bar; }),
            Reason::kSignature};
  }

  void remember(Nanoseconds at) {
    forget_before(at - options_.window);
    if (recent_.size() >= options_.max_window_requests && !recent_.empty()) recent_.pop_front();
    recent_.push_back({at, signature_});
  }

  void forget_before(Nanoseconds oldest) {
    while (!recent_.empty() && recent_.front().at < oldest) recent_.pop_front();
  }

  /// [decoders that are up, width], zeros where there is none.
  std::vector<float> centroids_in_order() const {
    std::vector<float> out;
    for (std::uint32_t slot = 0; slot < centroids_.size(); ++slot) {
      if (!fleet_.slots()[slot].up) continue;
      out.insert(out.end(), centroids_[slot].begin(), centroids_[slot].end());
      if (centroids_[slot].empty()) out.resize(out.size() + width());
    }
    return out;
  }

  bool whole() const {
    for (std::uint32_t slot = 0; slot < centroids_.size(); ++slot) {
      if (fleet_.slots()[slot].up && centroids_[slot].empty()) return false;
    }
    return true;
  }

  bool are_enough(std::size_t requests) const {
    const std::size_t decoders = fleet_.up_count();
    return decoders > 0 && requests >= decoders * std::max<std::size_t>(1, options_.min_requests_per_decoder);
  }

  /// Without signatures yet. From now on it is out.
  RefitJob next_job() {
    job_out_ = true;
    RefitJob job{.version = version_, .clusters = fleet_.up_count(), .seed = options_.seed};
    job.signatures.width = width();
    if (whole()) job.initial = centroids_in_order();
    return job;
  }

  bool rolling() const { return options_.refit_every > Nanoseconds(0); }
  std::size_t width() const { return options_.space.width(); }

  EldrOptions options_;
  std::vector<std::vector<float>> centroids_;  ///< by slot; empty: none
  std::vector<float> signature_, cosines_;
  std::deque<Recent> recent_;
  std::size_t given_;          ///< of options_.centroids
  std::uint64_t version_ = 0;  ///< of the set of workers
  std::uint64_t fitted_version_ = 0;
  Nanoseconds last_refit_{0};
  bool job_out_ = false;
};

}  // namespace

std::unique_ptr<DecodePolicy> make_eldr(EldrOptions options) {
  return std::make_unique<Eldr>(std::move(options));
}

}  // namespace moesaic::routing
