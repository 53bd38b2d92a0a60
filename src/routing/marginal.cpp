#include "routing/marginal.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/check.hpp"
#include "routing/fleet.hpp"
#include "routing/usage_sum.hpp"
#include "signature/dot.hpp"

namespace moesaic::routing {
namespace {

/// What a step of one decoder reads, and where its experts sit.
struct Decoder {
  std::size_t ranks = 1;
  std::vector<std::uint32_t> order;  ///< cells by layer, then by rank, then by expert
  std::vector<std::uint32_t> ends;   ///< [L, ranks] into order; empty for one rank
  UsageSum usage;

  Decoder(const Worker& worker, std::size_t layers, std::size_t experts, const UsageMemory& memory)
      : ranks(worker.ranks), order(order_of(worker, layers, experts)), ends(), usage(order, memory) {
    if (ranks == 1) return;
    std::vector<std::uint32_t> sizes(layers * ranks);
    for (std::size_t cell = 0; cell < layers * experts; ++cell) {
      ++sizes[cell / experts * ranks + worker.rank_of_expert[cell]];
    }
    ends.resize(sizes.size());
    std::partial_sum(sizes.begin(), sizes.end(), ends.begin());
  }

  static std::vector<std::uint32_t> order_of(const Worker& worker, std::size_t layers, std::size_t experts) {
    std::vector<std::uint32_t> order(layers * experts);
    std::iota(order.begin(), order.end(), 0u);
    if (worker.ranks == 1) return order;
    MOESAIC_CHECK(worker.rank_of_expert.size() == order.size());
    const auto rank = [&](std::uint32_t cell) { return worker.rank_of_expert[cell]; };
    MOESAIC_CHECK(std::ranges::all_of(order, [&](std::uint32_t cell) { return rank(cell) < worker.ranks; }));
    std::ranges::stable_sort(order, [&](std::uint32_t a, std::uint32_t b) {
      return std::pair(a / experts, rank(a)) < std::pair(b / experts, rank(b));
    });
    return order;
  }
};

/// Experts that a step reads now, and that steps read more with the candidate in the batch expected later; on
/// the busiest rank of each layer.
struct Experts {
  double now = 0, added = 0;
};

Experts count_experts(const Decoder& decoder, std::span<const float> candidate) {
  const std::span<const float> idle = decoder.usage.idle(), later = decoder.usage.later();
  if (decoder.ranks == 1) {
    return {decoder.usage.active(), static_cast<double>(signature::dot(later, candidate))};
  }
  Experts out;
  std::uint32_t i = 0;
  for (std::size_t layer = 0; layer < decoder.ends.size(); layer += decoder.ranks) {
    float busiest = 0, busiest_later = 0, busiest_then = 0;
    for (std::size_t rank = 0; rank < decoder.ranks; ++rank) {
      const std::uint32_t end = decoder.ends[layer + rank];
      float active = static_cast<float>(end - i), active_later = active, more = 0;
      for (; i < end; ++i) {
        active -= idle[i];
        active_later -= later[i];
        more += later[i] * candidate[decoder.order[i]];
      }
      busiest = std::max(busiest, active);
      busiest_later = std::max(busiest_later, active_later);
      busiest_then = std::max(busiest_then, active_later + more);
    }
    out.now += static_cast<double>(busiest);
    out.added += static_cast<double>(busiest_then - busiest_later);
  }
  return out;
}

class Marginal final : public DecodePolicy {
 public:
  explicit Marginal(MarginalOptions options)
      : options_(std::move(options)),
        scratch_(options_.predictor),
        fleet_(options_.reserve_requests),
        candidate_(options_.predictor.width()),
        priced_(candidate_.size()),
        unknown_(candidate_.size()),
        observed_(candidate_.size()),
        ones_(candidate_.size(), 1.0f) {
    to_survival(options_.predictor.mean, unknown_);
    grow(options_.reserve_requests);
  }

  std::string_view name() const override { return "marginal"; }

  void worker_up(const Worker& worker, Nanoseconds) override {
    const std::uint32_t slot = fleet_.up(worker);
    Decoder decoder(worker, options_.predictor.layers, options_.predictor.experts, options_.memory);
    // A known worker may have changed its ranks: its requests move to the new order.
    fleet_.requests().each([&](std::uint32_t place, const RequestTable::Record& record) {
      if (record.worker == slot) decoder.usage.add(usage(place));
    });
    decoder.usage.set_others(unknown_, fleet_.slots()[slot].others);
    if (slot == decoders_.size()) {
      decoders_.push_back(std::move(decoder));
    } else {
      decoders_[slot] = std::move(decoder);
    }
    added_.resize(decoders_.size());
  }

  void worker_down(WorkerId worker, Nanoseconds) override { fleet_.down(worker); }

  void worker_load(WorkerId worker, const WorkerLoad& load, Nanoseconds) override {
    if (const auto slot = fleet_.report(worker, load)) {
      decoders_[*slot].usage.set_others(unknown_, fleet_.slots()[*slot].others);
    }
  }

  std::uint32_t in_flight(WorkerId worker) const override { return fleet_.in_flight(worker); }

  Decision admit(const Request& request, Nanoseconds at) override {
    finished(request.id, at);
    if (fleet_.up_count() == 0) return {};
    const bool known = predict_candidate(request);
    const std::int64_t kv = expected_kv(request);
    std::ranges::fill(added_, kNotCounted);
    const std::uint32_t slot = known ? cheapest(kv) : fleet_.least_loaded(kv);
    const std::optional<Locality> shared = known ? locality(slot) : std::nullopt;
    const std::uint32_t place = fleet_.place(request.id, slot, kv);
    if (place >= places_) grow(fleet_.requests().places());
    if (known) {
      to_survival(candidate_, usage(place));
    } else {
      std::ranges::copy(unknown_, usage(place).begin());
    }
    decoders_[slot].usage.add(usage(place));
    return {fleet_.slots()[slot].id, known ? Reason::kSignature : Reason::kFallback, shared};
  }

  bool keeps_experts() const override { return true; }

  double expected_experts(WorkerId worker) const override {
    const auto slot = fleet_.find(worker);
    return slot && fleet_.slots()[*slot].in_flight() > 0 ? decoders_[*slot].usage.active() : 0;
  }

  void first_token(RequestId, Nanoseconds) override {}

  void finished(RequestId request, Nanoseconds) override {
    if (const auto left = fleet_.remove(request)) decoders_[left->slot].usage.remove(usage(left->place));
  }

  bool observed(WorkerId worker, std::span<const float> shares, Nanoseconds) override {
    const auto slot = fleet_.find(worker);
    if (!slot || shares.size() != candidate_.size()) return false;
    to_survival(shares, observed_);
    decoders_[*slot].usage.remember(observed_);
    return true;
  }

  std::optional<RefitJob> tick(Nanoseconds) override { return std::nullopt; }
  void refitted(const std::optional<RefitResult>&, Nanoseconds) override {}

  /// Requests that run keep what was foretold of them; those of others count by the new mean.
  void learnt(const signature::Predictor& predictor, Nanoseconds) override {
    if (predictor.layers != options_.predictor.layers || predictor.experts != options_.predictor.experts)
      return;
    options_.predictor = predictor;
    scratch_ = signature::PredictionScratch(options_.predictor);
    to_survival(options_.predictor.mean, unknown_);
    for (std::uint32_t slot = 0; slot < decoders_.size(); ++slot) {
      decoders_[slot].usage.set_others(unknown_, fleet_.slots()[slot].others);
    }
  }

 private:
  /// Fills candidate_ and priced_; false when nothing is known of the request.
  bool predict_candidate(const Request& request) {
    const std::size_t width = candidate_.size();
    if (request.probabilities.size() == width) {
      std::ranges::copy(request.probabilities, candidate_.begin());
    } else if (request.counts.size() == width && request.counted_tokens > 0) {
      signature::predict(options_.predictor, request.counts, request.counted_tokens, candidate_, scratch_);
    } else {
      return false;
    }
    const auto contrast = static_cast<float>(options_.contrast);
    std::ranges::copy(candidate_, priced_.begin());
    signature::blend(priced_, options_.predictor.mean.data(), -contrast, 1 + contrast);
    return true;
  }

  /// The slot of the lowest price among those with room (all, when none has) that are not too far ahead;
  /// ties go as by load.
  std::uint32_t cheapest(std::int64_t kv) {
    const std::uint32_t least = fleet_.least_loaded(kv);
    const bool any_room = !fleet_.full(least, kv);
    double total = 0;
    for (const Fleet::Slot& slot : fleet_.slots())
      total += slot.up ? static_cast<double>(slot.in_flight()) : 0;
    const double most = static_cast<double>(fleet_.slots()[least].in_flight()) + options_.ahead_requests +
                        options_.ahead_share * total / static_cast<double>(fleet_.up_count());
    std::uint32_t best = least;
    double best_price = price(least, kv);
    for (std::uint32_t slot = 0; slot < fleet_.slots().size(); ++slot) {
      const Fleet::Slot& at = fleet_.slots()[slot];
      if (!at.up || slot == least || static_cast<double>(at.in_flight()) > most) continue;
      if (any_room && fleet_.full(slot, kv)) continue;
      const double here = price(slot, kv);
      if (here < best_price || (here == best_price && fleet_.lighter(slot, best, kv))) {
        best = slot;
        best_price = here;
      }
    }
    return best;
  }

  /// In picoseconds a step.
  double price(std::uint32_t slot, std::int64_t kv) {
    const Fleet::Slot& at = fleet_.slots()[slot];
    const Experts experts = count_experts(decoders_[slot], priced_);
    added_[slot] = experts.added;
    const auto requests = static_cast<double>(at.in_flight());
    const cost::StepLoad load{.tokens = static_cast<std::int64_t>(at.in_flight()) + 1,
                              .experts = static_cast<std::int64_t>(experts.now),
                              .kv_tokens = at.kv_tokens};
    const cost::StepPrices prices = cost::prices_near(options_.step, load);
    const double added = experts.added * static_cast<double>(prices.expert.count()) +
                         static_cast<double>(prices.token.count()) +
                         static_cast<double>(kv) * static_cast<double>(prices.kv_token.count());
    const double step = experts.now * static_cast<double>(prices.expert.count()) +
                        requests * static_cast<double>(prices.token.count()) +
                        static_cast<double>(at.kv_tokens) * static_cast<double>(prices.kv_token.count());
    return options_.persistence * step + added * (requests + 1);
  }

  /// The mean is over decoders that were priced: counting the others would cost a decision a third more.
  /// Nothing where a decoder has several ranks: there experts are counted on the busiest alone.
  std::optional<Locality> locality(std::uint32_t chosen) {
    const auto wanted = static_cast<double>(signature::dot(ones_, priced_));
    if (wanted <= 0) return std::nullopt;
    Locality out;
    std::size_t priced = 0;
    for (std::uint32_t slot = 0; slot < decoders_.size(); ++slot) {
      if (added_[slot] == kNotCounted) continue;
      if (decoders_[slot].ranks > 1) return std::nullopt;
      const double shared = std::clamp(1 - added_[slot] / wanted, 0.0, 1.0);
      if (slot == chosen) out.here = shared;
      out.mean += shared;
      ++priced;
    }
    out.mean /= static_cast<double>(priced);
    return out;
  }

  std::span<Survival> usage(std::uint32_t place) {
    return std::span(*blocks_[place / kBlock]).subspan(place % kBlock * candidate_.size(), candidate_.size());
  }

  /// Usage lives in blocks, so that growing moves nothing.
  void grow(std::size_t places) {
    while (places_ < places) {
      blocks_.push_back(std::make_unique<std::vector<Survival>>(kBlock * candidate_.size()));
      places_ += kBlock;
    }
  }

  static constexpr std::size_t kBlock = 64;
  static constexpr double kNotCounted = -1;

  MarginalOptions options_;
  signature::PredictionScratch scratch_;
  Fleet fleet_;
  std::vector<float> candidate_, priced_;  ///< probabilities of the request; with contrast
  std::vector<Survival> unknown_, observed_;
  std::vector<float> ones_;        ///< as many as candidate_
  std::vector<Decoder> decoders_;  ///< by slot
  std::vector<double> added_;      ///< by slot: experts that the candidate adds there
  std::vector<std::unique_ptr<std::vector<Survival>>> blocks_;
  std::size_t places_ = 0;
};

}  // namespace

std::unique_ptr<DecodePolicy> make_marginal(MarginalOptions options) {
  MOESAIC_CHECK(signature::validate(options.predictor).has_value());
  return std::make_unique<Marginal>(std::move(options));
}

}  // namespace moesaic::routing
