#include "simulate/simulation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "core/check.hpp"
#include "core/random.hpp"
#include "core/thread_pool.hpp"
#include "routing/prefill_policies.hpp"
#include "simulate/decoder.hpp"
#include "simulate/event_queue.hpp"
#include "simulate/prefix_cache.hpp"

namespace moesaic::simulate {
namespace {

using routing::RequestId;
using routing::WorkerId;

/// A request between its arrival and its last token.
struct Flight {
  RequestRecord record{};
  std::uint64_t id = 0;
  std::uint32_t prompt_tokens = 0;
  bool measured = false;
  std::span<const std::uint64_t> blocks{};
  std::uint32_t done = 0;          ///< tokens it had made when it lost its decoder
  std::uint32_t life = 0;          ///< of the decoder, when it was sent there
  std::vector<float> predicted{};  ///< [L, E] for admission by experts; else empty

  std::uint32_t prefill_tokens() const { return prompt_tokens + done; }
};

/// A decode worker between its comings and goings.
struct Place {
  Decoder decoder;
  std::uint32_t life = 0;        ///< grows when the worker leaves
  std::uint64_t step_event = 0;  ///< the event that ends the present step
  std::int64_t active = 0;       ///< experts of the present step
  Nanoseconds began{0};          ///< the present step
};

struct PrefillWorker {
  std::deque<std::uint32_t> queue;  ///< flights, the first one runs
  PrefixCache cache;
};

constexpr std::uint64_t kNoEvent = ~std::uint64_t{0};

/// Blocks that name a prompt for prefix-aware policies.
constexpr std::size_t kPrefixBlocks = 4;

/// Expected share of the arrivals of each domain.
std::vector<double> domain_shares(const Recording& recording, const Mix& mix) {
  std::vector<double> shares(recording.domains.size());
  for (const RecordedRequest& request : recording.requests) {
    if (request.domain < shares.size()) shares[request.domain] += request.decode_tokens;
  }
  if (mix.kind != Mix::Kind::kSkewed || shares.empty()) return shares;
  std::size_t favoured = 0;
  double total = 0;
  for (std::size_t d = 0; d < shares.size(); ++d) {
    total += shares[d];
    const bool named = recording.domains[d] == mix.domain;
    if (mix.domain.empty() ? shares[d] > shares[favoured] : named) favoured = d;
  }
  const double others = total - shares[favoured];
  if (others <= 0) return shares;
  for (std::size_t d = 0; d < shares.size(); ++d) {
    shares[d] = d == favoured ? mix.share : (1 - mix.share) * shares[d] / others;
  }
  return shares;
}

class Simulation {
 public:
  Simulation(const Cluster& cluster, const Recording& recording, const RunOptions& options)
      : cluster_(cluster),
        recording_(recording),
        oracle_(options.policy == kMarginalOracle),
        arrivals_(cluster.arrivals, options.rate, options.seed),
        deck_(recording, cluster.mix, options.seed),
        counter_(recording, cluster.decode.plan ? &*cluster.decode.plan : nullptr),
        scratch_(cluster.policies.marginal.predictor),
        places_(cluster.decode.ever(), Place{.decoder = Decoder(cluster.decode, counter_)}) {
    for (std::size_t w = 0; w < cluster.prefill.workers; ++w) {
      prefills_.push_back({.queue = {}, .cache = PrefixCache(cluster.prefill.cache_blocks)});
    }
    result_.decoder_tokens.resize(places_.size());
    result_.decoder_busy.resize(places_.size());
  }

  Result<RunResult> go(const RunOptions& options) {
    MOESAIC_TRY(make_policies(options));
    next_arrival();
    events_.push(cluster_.tick_every, EventKind::kTick, 0);
    for (std::uint32_t i = 0; i < cluster_.decode.events.size(); ++i) {
      events_.push(cluster_.decode.events[i].at, EventKind::kFleet, i);
    }
    while (!events_.empty() && error_.message.empty() && !finished()) {
      const Event event = events_.pop();
      now_ = Nanoseconds(event.at);
      ++result_.events;
      handle(event);
    }
    if (!error_.message.empty()) return tl::unexpected(error_);
    result_.end = now_;
    result_.fallbacks = deck_.fallbacks();
    return std::move(result_);
  }

 private:
  Status make_policies(const RunOptions& options) {
    routing::DecodePolicyConfig config = cluster_.policies;
    config.seed = options.seed;
    config.eldr.seed = options.seed;
    config.domain.shares = domain_shares(recording_, cluster_.mix);
    MOESAIC_ASSIGN(decode_policy_,
                   routing::make_decode_policy(oracle_ ? "marginal" : options.policy, config));
    MOESAIC_ASSIGN(prefill_policy_, routing::make_prefill_policy(cluster_.prefill.policy, {}));
    routing::Worker worker{.max_running = cluster_.decode.max_running,
                           .kv_capacity = cluster_.decode.kv_capacity,
                           .ranks = counter_.gpus()};
    if (worker.ranks > 1) worker.rank_of_expert = first_ranks();
    worker_ = std::move(worker);
    for (std::uint32_t w = 0; w < cluster_.decode.workers; ++w) worker_up(w);
    for (std::size_t w = 0; w < prefills_.size(); ++w) {
      prefill_policy_->worker_up({.id = WorkerId(w)}, Nanoseconds(0));
    }
    return {};
  }

  /// [L, E] the GPU of every expert's first slot.
  std::vector<std::uint16_t> first_ranks() const {
    const Placement& placement = cluster_.decode.plan->placement;
    const std::size_t experts = placement.experts();
    std::vector<std::uint16_t> ranks(placement.layers().size() * experts);
    for (std::size_t layer = 0; layer < placement.layers().size(); ++layer) {
      const auto slots = placement.layer(layer);
      for (std::size_t slot = slots.size(); slot-- > 0;) {
        ranks[layer * experts + index(slots[slot])] =
            static_cast<std::uint16_t>(index(placement.gpu_of(SlotId(slot))));
      }
    }
    return ranks;
  }

  bool finished() const {
    const bool stretch_over = now_ >= cluster_.warm_up + cluster_.measure;
    if (arrivals_over_) return in_flight_ == 0 && held_.empty();
    return stretch_over && measured_in_flight_ == 0;
  }
  bool counts(const Arrival& arrival) const {
    return arrival.at >= cluster_.warm_up && arrival.at < cluster_.warm_up + cluster_.measure;
  }
  bool measuring() const { return now_ >= cluster_.warm_up && now_ < cluster_.warm_up + cluster_.measure; }

  void handle(const Event& event) {
    switch (event.kind) {
      case EventKind::kArrival:
        return arrive();
      case EventKind::kPrefillDone:
        return prefill_done(event.subject);
      case EventKind::kTransferred:
        return transferred(event.subject);
      case EventKind::kStepDone:
        if (event.order == places_[event.subject].step_event) step_done(event.subject);
        return;  // a step of a worker that has left ends nowhere
      case EventKind::kTick:
        return tick();
      case EventKind::kRefitted:
        ++result_.refits;
        return decode_policy_->refitted(refit_, now_);
      case EventKind::kFleet:
        return change_fleet(cluster_.decode.events[event.subject]);
    }
  }

  void worker_up(std::uint32_t w) {
    worker_.id = WorkerId(w);
    decode_policy_->worker_up(worker_, now_);
  }

  /// What a worker that leaves ran or waited for begins anew with its prefill, the tokens made so far
  /// included; so does, when it arrives, what is on its way there.
  void change_fleet(const FleetEvent& event) {
    if (event.up) return worker_up(event.worker);
    Place& place = places_[event.worker];
    ++place.life;
    place.step_event = kNoEvent;
    const std::vector<Running> lost = place.decoder.lose();
    decode_policy_->worker_down(WorkerId(event.worker), now_);
    for (const Running& running : lost) {
      flights_[running.flight].done = running.position;
      again(running.flight);
    }
  }

  void again(std::uint32_t f) {
    ++result_.restarted;
    to_prefill(f);
  }

  void next_arrival() {
    if (const auto arrival = arrivals_.next()) {
      arrival_ = *arrival;
      events_.push(arrival_.at, EventKind::kArrival, 0);
    } else {
      arrivals_over_ = true;
    }
  }

  void arrive() {
    const Arrival arrival = arrival_;
    ++result_.arrivals;
    count_in_flight(1);
    measured_in_flight_ += counts(arrival);
    const auto recorded = held_.empty() ? deck_.draw(arrival.at) : std::nullopt;
    if (recorded) {
      begin(arrival, *recorded);
    } else {
      held_.push_back(arrival);
    }
    if (!held_.empty()) ++result_.held;
    next_arrival();
  }

  void begin(const Arrival& arrival, std::uint32_t recorded) {
    std::uint32_t f;
    if (free_.empty()) {
      f = static_cast<std::uint32_t>(flights_.size());
      flights_.emplace_back();
    } else {
      f = free_.back();
      free_.pop_back();
    }
    const RecordedRequest& request = recording_.requests[recorded];
    Flight& flight = flights_[f];
    flight = {.id = next_id_++, .blocks = arrival.blocks};
    flight.record = {.recorded = recorded,
                     .tokens = arrival.output_tokens > 0 ? arrival.output_tokens : request.decode_tokens,
                     .arrival = arrival.at};
    flight.prompt_tokens = arrival.prompt_tokens > 0 ? arrival.prompt_tokens : request.prompt_tokens;
    flight.measured = counts(arrival);
    result_.begun.push_back({now_, recorded, flight.prompt_tokens, flight.record.tokens});
    if (cluster_.decode.kv_capacity > 0 && reserve_of(flight) > cluster_.decode.kv_capacity) {
      error_ = {
          ErrorKind::kBadInput,
          fmt::format("decode: a request of {} prompt and {} output tokens does not fit a KV cache of {} "
                      "tokens; give kv_tokens more",
                      flight.prompt_tokens, flight.record.tokens, cluster_.decode.kv_capacity)};
      return;
    }
    if (cluster_.decode.admission.kind == Admission::Kind::kMicroBatch) predict(flight);
    to_prefill(f);
  }

  void predict(Flight& flight) {
    const std::uint32_t recorded = flight.record.recorded;
    const std::span<const float> foretold = recording_.foretold_of(recorded);
    flight.predicted.assign(foretold.begin(), foretold.end());
    if (!foretold.empty()) return;
    flight.predicted.resize(recording_.cells());
    signature::predict(cluster_.policies.marginal.predictor, recording_.counts(recorded),
                       recording_.requests[recorded].counted_tokens, flight.predicted, scratch_);
  }

  void to_prefill(std::uint32_t f) {
    const Flight& flight = flights_[f];
    routing::Request at{.id = RequestId(flight.id), .prompt_tokens = flight.prefill_tokens()};
    if (!flight.blocks.empty()) {
      at.prefix_hash = 1;
      for (const std::uint64_t block : flight.blocks.first(std::min(kPrefixBlocks, flight.blocks.size()))) {
        at.prefix_hash = counter_hash({at.prefix_hash, block});
      }
    }
    const routing::Decision decision = prefill_policy_->admit(at, now_);
    const auto w = static_cast<std::uint32_t>(*decision.worker);
    prefills_[w].queue.push_back(f);
    if (prefills_[w].queue.size() == 1) start_prefill(w);
  }

  void start_prefill(std::uint32_t w) {
    const Flight& flight = flights_[prefills_[w].queue.front()];
    std::uint32_t cached = 0;
    if (cluster_.prefill.cache_blocks > 0 && !flight.blocks.empty()) {
      const std::size_t hits = prefills_[w].cache.use(flight.blocks);
      // The last token of a prompt is always computed: its output is the first new token.
      cached = std::min(static_cast<std::uint32_t>(hits) * cluster_.prefill.block_tokens,
                        flight.prefill_tokens() - std::min(1u, flight.prefill_tokens()));
    }
    result_.prompt_tokens += flight.prefill_tokens();
    result_.cached_prompt_tokens += cached;
    events_.push(
        now_ + cluster_.prefill.fixed + scaled(cluster_.prefill.per_token, flight.prefill_tokens() - cached),
        EventKind::kPrefillDone, w);
  }

  void prefill_done(std::uint32_t w) {
    PrefillWorker& worker = prefills_[w];
    const std::uint32_t f = worker.queue.front();
    worker.queue.pop_front();
    if (!worker.queue.empty()) start_prefill(w);
    Flight& flight = flights_[f];
    prefill_policy_->prefill_done(RequestId(flight.id), now_);
    if (flight.done == 0) flight.record.prefill_done = now_;
    const std::uint32_t recorded = flight.record.recorded;
    const RecordedRequest& request = recording_.requests[recorded];
    routing::Request at{.id = RequestId(flight.id),
                        .prompt_tokens = flight.prefill_tokens(),
                        .counts = recording_.counts(recorded),
                        .counted_tokens = request.counted_tokens,
                        .domain = request.domain};
    at.probabilities = oracle_ ? recording_.shares(recorded) : recording_.foretold_of(recorded);
    const routing::Decision decision = decode_policy_->admit(at, now_);
    flight.record.decoder = static_cast<std::uint32_t>(*decision.worker);
    flight.life = places_[flight.record.decoder].life;
    events_.push(
        now_ + cluster_.transfer.latency + scaled(cluster_.transfer.per_token, flight.prefill_tokens()),
        EventKind::kTransferred, f);
  }

  void transferred(std::uint32_t f) {
    const Flight& flight = flights_[f];
    Place& place = places_[flight.record.decoder];
    if (flight.life != place.life) return again(f);
    const RecordedRequest& request = recording_.requests[flight.record.recorded];
    place.decoder.enqueue(
        {.running = {.row = row_of(flight.record.recorded, flight.done % request.decode_tokens),
                     .left = flight.record.tokens - flight.done,
                     .flight = f,
                     .position = flight.done,
                     .context = flight.prefill_tokens(),
                     .predicted = flight.predicted},
         .reserve = reserve_of(flight)});
    if (!place.decoder.stepping()) start_step(flight.record.decoder);
  }

  void start_step(std::uint32_t d) {
    Place& place = places_[d];
    place.decoder.admit();
    if (place.decoder.empty()) return;
    place.began = now_;
    place.step_event = events_.push(now_ + place.decoder.start_step(place.active), EventKind::kStepDone, d);
  }

  void step_done(std::uint32_t d) {
    Decoder& decoder = places_[d].decoder;
    if (measuring()) {
      ++result_.steps;
      result_.step_tokens += static_cast<std::int64_t>(decoder.running());
      result_.decoder_tokens[d] += static_cast<std::int64_t>(decoder.running());
      result_.active_experts += places_[d].active;
      result_.decoder_busy[d] += now_ - places_[d].began;
    }
    decoder.end_step(
        [&](const Running& running) {
          Flight& flight = flights_[running.flight];
          if (running.position == 1) {
            flight.record.first_token = now_;
            decode_policy_->first_token(RequestId(flight.id), now_);
          }
          if (running.left == 0) {
            decoder.release(reserve_of(flight));
            end(running.flight);
          }
        },
        [&](Running& running) {
          // An output longer than the recorded one goes through it again.
          const RecordedRequest& request = recording_.requests[flights_[running.flight].record.recorded];
          running.row = running.position % request.decode_tokens == 0
                            ? recording_.bits.data() + request.first * recording_.words()
                            : running.row + recording_.words();
        });
    start_step(d);
  }

  void end(std::uint32_t f) {
    Flight& flight = flights_[f];
    flight.record.last_token = now_;
    decode_policy_->finished(RequestId(flight.id), now_);
    if (cluster_.decode.tells_experts) {
      decode_policy_->observed(WorkerId(flight.record.decoder), recording_.shares(flight.record.recorded),
                               now_);
    }
    if (flight.measured) {
      result_.requests.push_back(flight.record);
      --measured_in_flight_;
    }
    ++result_.ended;
    count_in_flight(-1);
    deck_.put_back(flight.record.recorded);
    free_.push_back(f);
    if (held_.empty()) return;
    const Arrival arrival = held_.front();
    held_.pop_front();
    begin(arrival, *deck_.draw(now_));
  }

  void tick() {
    if (arrivals_over_ && in_flight_ == 0) return;
    if (const auto job = decode_policy_->tick(now_)) {
      refit_ = routing::run_refit(*job, refit_pool_);
      events_.push(now_ + cluster_.refit_takes, EventKind::kRefitted, 0);
    }
    events_.push(now_ + cluster_.tick_every, EventKind::kTick, 0);
  }

  const std::uint64_t* row_of(std::uint32_t recorded, std::size_t position) const {
    return recording_.bits.data() + (recording_.requests[recorded].first + position) * recording_.words();
  }
  static std::int64_t reserve_of(const Flight& flight) {
    return std::int64_t{flight.prompt_tokens} + flight.record.tokens;
  }
  static Nanoseconds scaled(cost::Picoseconds price, std::uint32_t count) {
    return Nanoseconds((price.count() * std::int64_t{count} + 500) / 1000);
  }
  void count_in_flight(std::int64_t change) {
    result_.in_flight_time += in_flight_ * (now_ - last_change_).count();
    last_change_ = now_;
    in_flight_ += change;
  }

  const Cluster& cluster_;
  const Recording& recording_;
  const bool oracle_;
  ArrivalProcess arrivals_;
  RequestDeck deck_;
  StepCounter counter_;
  signature::PredictionScratch scratch_;
  std::vector<Place> places_;  ///< decode workers
  routing::Worker worker_{};   ///< what each of them is
  std::vector<PrefillWorker> prefills_;
  std::unique_ptr<routing::DecodePolicy> decode_policy_;
  std::unique_ptr<routing::PrefillPolicy> prefill_policy_;
  ThreadPool refit_pool_{1};
  std::optional<routing::RefitResult> refit_;

  EventQueue events_;
  Nanoseconds now_{0};
  Arrival arrival_{};
  bool arrivals_over_ = false;
  std::deque<Arrival> held_;
  std::vector<Flight> flights_;
  std::vector<std::uint32_t> free_;
  std::uint64_t next_id_ = 0;
  std::int64_t in_flight_ = 0, measured_in_flight_ = 0;
  Nanoseconds last_change_{0};
  Error error_{};
  RunResult result_;
};

}  // namespace

Result<RunResult> run(const Cluster& cluster, const Recording& recording, const RunOptions& options) {
  MOESAIC_CHECK(cluster.prefill.workers > 0 && cluster.decode.workers > 0 && !recording.requests.empty());
  Simulation simulation(cluster, recording, options);
  return simulation.go(options);
}

double rate_for_running(const Cluster& cluster, const Recording& recording, std::uint32_t running) {
  MOESAIC_CHECK(running > 0);
  StepCounter counter(recording, cluster.decode.plan ? &*cluster.decode.plan : nullptr);
  Pcg32 random(0, 0xCA9A);
  constexpr int kBatches = 512;
  double total = 0;
  std::vector<Running> batch(running);
  for (int b = 0; b < kBatches; ++b) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto& request =
          recording.requests[random.below(static_cast<std::uint32_t>(recording.requests.size()))];
      const std::size_t position = request.first + random.below(request.decode_tokens);
      batch[i] = {.row = recording.bits.data() + position * recording.words(),
                  .context = request.prompt_tokens + request.decode_tokens / 2,
                  .home = static_cast<std::uint16_t>(i % counter.gpus())};
    }
    std::int64_t active = 0;
    total += static_cast<double>(cost::step_time(cluster.decode.step, counter.count(batch, active)).count());
  }
  const double step_seconds = total / kBatches / 1e9;
  return static_cast<double>(cluster.decode.workers * running) /
         (step_seconds * recording.mean_decode_tokens());
}

}  // namespace moesaic::simulate
