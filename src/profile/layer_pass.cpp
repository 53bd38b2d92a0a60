#include "profile/layer_pass.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/random.hpp"
#include "profile/statistics.hpp"

namespace moesaic::profile {
namespace {

using Histogram = std::vector<std::uint32_t>;

std::vector<double> as_loads(const Histogram& histogram) { return {histogram.begin(), histogram.end()}; }

/// Counts of one schedule's steps.
class StepCounter {
 public:
  StepCounter(const Schedule& schedule, std::size_t experts)
      : schedule_(schedule), experts_(experts), loads_(schedule.domain_of_step.size() * experts) {}

  void add(const Block& block, std::span<const ExpertId> experts, std::size_t k) {
    for (; at_ < schedule_.tokens.size() && schedule_.tokens[at_].token < block.end; ++at_) {
      const StepToken& entry = schedule_.tokens[at_];
      const ExpertId* ids = &experts[static_cast<std::size_t>(entry.token - block.begin) * k];
      for (std::size_t i = 0; i < k; ++i) {
        if (ids[i] != kMissingExpert) ++loads_[entry.step * experts_ + index(ids[i])];
      }
    }
  }

  StepFigure figure(std::span<const double> probability) const {
    StepFigure out{.steps = schedule_.domain_of_step.size()};
    std::vector<double> ratios, distinct;
    double rows_sum = 0;
    for (std::size_t s = 0; s < out.steps; ++s) {
      std::uint32_t most = 0, rows = 0;
      std::size_t used = 0;
      for (std::size_t e = 0; e < experts_; ++e) {
        const std::uint32_t load = loads_[s * experts_ + e];
        most = std::max(most, load);
        rows += load;
        used += load > 0;
      }
      if (rows == 0) continue;
      rows_sum += rows;
      ratios.push_back(static_cast<double>(most) * static_cast<double>(experts_) / rows);
      distinct.push_back(static_cast<double>(used));
    }
    out.max_over_mean = mean(ratios);
    out.max_over_mean_p95 = quantile(ratios, 0.95);
    out.distinct = mean(distinct);
    out.distinct_p95 = quantile(distinct, 0.95);
    out.max_over_mean_independent = out.distinct_independent = kNothing;
    if (!ratios.empty() && !probability.empty()) {
      const Independent chance = independent_step(probability, schedule_.batch);
      out.distinct_independent = chance.distinct;
      out.max_over_mean_independent =
          chance.largest * static_cast<double>(experts_) * static_cast<double>(ratios.size()) / rows_sum;
    }
    return out;
  }

 private:
  const Schedule& schedule_;
  std::size_t experts_, at_ = 0;
  Histogram loads_;
};

class Pass {
 public:
  Pass(const PassPlan& plan, std::size_t layer)
      : plan_(plan),
        walk_(plan.walk),
        layer_(layer),
        experts_(plan.trace.shape().experts),
        k_(plan.trace.shape().top_k),
        domains_(plan.walk.domains.size()),
        loads_(2 * domains_ * experts_),
        windows_(walk_.windows * experts_),
        last_(experts_),
        first_part_(experts_),
        second_part_(experts_),
        picture_(experts_),
        rest_(experts_) {
    for (const Schedule& schedule : plan.steps) steps_.emplace_back(schedule, experts_);
    for (const Schedule& schedule : plan.same_kind_steps) same_kind_.emplace_back(schedule, experts_);
    paired_ = experts_ <= kMaxPairedExperts;
    has_next_ = paired_ && layer + 1 < plan.trace.shape().layers.size();
    if (paired_) {
      single_.assign(experts_, 0);
      if (k_ > 1) pairs_.assign(experts_ * experts_, 0);
    }
    if (has_next_) {
      joint_.assign(experts_ * experts_, 0);
      next_single_.assign(experts_, 0);
    }
    compared_ = std::min(plan.compared_requests, walk_.sampled.size());
    usage_.assign(compared_ * experts_, 0);
    out_.group_loads.assign(2 * plan.groups * experts_, 0);
    out_.own.kept.assign(plan.capacities.size(), 0);
    out_.correlation.request_pearson.assign(walk_.correlated, kNothing);
    out_.correlation.request_spearman.assign(walk_.correlated, kNothing);
  }

  Result<LayerProfile> run() {
    for (const Block& block : walk_.blocks) {
      const auto tokens = static_cast<std::size_t>(block.end - block.begin);
      block_.resize(tokens * k_);
      MOESAIC_TRY(plan_.trace.read_layer(layer_, block.begin, block.end, block_));
      if (block.pairs && has_next_) {
        next_block_.resize(tokens * k_);
        MOESAIC_TRY(plan_.trace.read_layer(layer_ + 1, block.begin, block.end, next_block_));
      }
      begin_ = block.begin;
      for (std::size_t s = block.first; s < block.last; ++s) add(walk_.segments[s], block.pairs);
      for (StepCounter& counter : steps_) counter.add(block, block_, k_);
      for (StepCounter& counter : same_kind_) counter.add(block, block_, k_);
    }
    finish();
    return std::move(out_);
  }

 private:
  const ExpertId* ids(std::uint64_t token) const {
    return &block_[static_cast<std::size_t>(token - begin_) * k_];
  }

  /// Counts tokens [from, to) into `histogram`.
  void count(std::uint64_t from, std::uint64_t to, Histogram& histogram) {
    if (from == to) return;
    for (const ExpertId *id = ids(from), *end = id + (to - from) * k_; id < end; ++id) {
      if (*id == kMissingExpert) {
        ++out_.missing;
      } else {
        ++histogram[index(*id)];
      }
    }
  }

  void add(const Segment& s, bool pairs) {
    const bool pictured = s.picture_end > s.begin;
    const std::uint64_t cut = pictured ? s.picture_end : s.split;
    std::fill(first_part_.begin(), first_part_.end(), 0);
    std::fill(second_part_.begin(), second_part_.end(), 0);
    count(cut, s.end, second_part_);
    if (s.correlate != kNone) {
      count_picture(s, cut);
    } else {
      count(s.begin, cut, first_part_);
    }
    const std::size_t first_phase = walk_.stand_in ? kDecodeRow : kPrefillRow;
    std::uint64_t* first = &loads_[(first_phase * domains_ + s.domain) * experts_];
    std::uint64_t* second = &loads_[(kDecodeRow * domains_ + s.domain) * experts_];
    const bool whole = walk_.stand_in;  // both parts are of the main phase
    const bool prefill = walk_.phase == Phase::kPrefill;
    std::uint64_t* window = &windows_[s.window * experts_];
    for (std::size_t e = 0; e < experts_; ++e) {
      first[e] += first_part_[e];
      second[e] += second_part_[e];
      if (pictured) {
        picture_[e] += first_part_[e];
        rest_[e] += second_part_[e];
      }
      // From here on second_part_ is the main phase.
      if (whole) second_part_[e] += first_part_[e];
      if (prefill) second_part_[e] = first_part_[e];
      window[e] += second_part_[e];
    }
    if (s.sampled != kNone) add_sampled(s);
    const std::uint64_t from = prefill ? s.begin : s.split, to = prefill ? s.split : s.end;
    if (s.request != kNone) count_reuse(from, to);
    if (pairs && paired_) count_pairs(from, to);
  }

  /// Counts the picture token by token and correlates it with the rest after 1, 2, 4, ... tokens.
  void count_picture(const Segment& s, std::uint64_t cut) {
    const std::vector<double> rest = as_loads(second_part_);
    std::uint64_t done = s.begin;
    for (std::size_t power = 0; power < kSharpenings; ++power) {
      const std::uint64_t until = s.begin + (std::uint64_t{1} << power);
      if (until > cut) break;
      count(done, until, first_part_);
      done = until;
      const double r = pearson(as_loads(first_part_), rest);
      if (std::isnan(r)) continue;
      Sharpening& at = out_.correlation.after[power];
      at.pearson += r;
      ++at.requests;
    }
    count(done, cut, first_part_);
    const std::vector<double> picture = as_loads(first_part_);
    out_.correlation.request_pearson[s.correlate] = pearson(picture, rest);
    out_.correlation.request_spearman[s.correlate] = spearman(picture, rest);
  }

  void add_sampled(const Segment& s) {
    // Evenly spaced among the sampled.
    const std::size_t place = s.sampled * compared_ / walk_.sampled.size();
    if ((s.sampled + std::size_t{1}) * compared_ / walk_.sampled.size() > place)
      std::copy(second_part_.begin(), second_part_.end(),
                usage_.begin() + static_cast<std::ptrdiff_t>(place * experts_));
    const std::uint32_t group =
        s.sampled < plan_.group_of_sampled.size() ? plan_.group_of_sampled[s.sampled] : kNone;
    if (group != kNone) {
      // Halves by a hash: every other request would be of one kind where a store alternates kinds.
      const std::size_t half = counter_hash({s.sampled}) % 2;
      double* loads = &out_.group_loads[(half * plan_.groups + group) * experts_];
      for (std::size_t e = 0; e < experts_; ++e) loads[e] += second_part_[e];
    }
    sorted_ = second_part_;
    std::sort(sorted_.begin(), sorted_.end(), std::greater<>());
    double kept = 0;
    for (std::size_t c = 0, e = 0; c < plan_.capacities.size(); ++c) {
      for (; e < std::min(plan_.capacities[c], experts_); ++e) kept += sorted_[e];
      out_.own.kept[c] += kept;
    }
    for (const std::uint32_t load : sorted_) out_.own.rows += load;
  }

  void count_reuse(std::uint64_t from, std::uint64_t to) {
    if (from == to) return;
    std::uint64_t again = 0, able = 0;
    const ExpertId* id = ids(from);
    Reuse& reuse = out_.reuse;
    // last_ holds 1 + a token's place in an order that never repeats, so it needs no clearing.
    const std::uint64_t base = clock_;
    for (std::uint64_t t = 0; t < to - from; ++t) {
      const std::uint64_t now = base + t + 1;
      for (std::size_t i = 0; i < k_; ++i, ++id) {
        if (*id == kMissingExpert) continue;
        ++reuse.rows;
        able += t > 0;
        std::uint64_t& last = last_[index(*id)];
        if (last > base) {
          const std::uint64_t gap = now - last;
          again += gap == 1;
          ++reuse.gaps[std::min<std::size_t>(kGapBuckets - 1,
                                             static_cast<std::size_t>(std::bit_width(gap - 1)))];
        } else {
          ++reuse.first_uses;
        }
        last = now;
      }
    }
    clock_ = base + (to - from);
    again_ += again;
    able_ += able;
    if (able > 0) {
      reuse.per_request += static_cast<double>(again) / static_cast<double>(able);
      ++reusing_;
    }
  }

  void count_pairs(std::uint64_t from, std::uint64_t to) {
    if (from == to) return;
    const ExpertId* id = ids(from);
    const ExpertId* next = has_next_ ? &next_block_[static_cast<std::size_t>(from - begin_) * k_] : nullptr;
    pair_tokens_ += to - from;
    for (std::uint64_t t = from; t < to; ++t, id += k_) {
      for (std::size_t i = 0; i < k_; ++i) {
        if (id[i] == kMissingExpert) continue;
        const std::size_t a = index(id[i]);
        ++single_[a];
        for (std::size_t j = i + 1; j < k_; ++j) {
          if (id[j] == kMissingExpert) continue;
          const std::size_t b = index(id[j]);
          ++pairs_[std::min(a, b) * experts_ + std::max(a, b)];
        }
        for (std::size_t j = 0; next != nullptr && j < k_; ++j) {
          if (next[j] != kMissingExpert) ++joint_[a * experts_ + index(next[j])];
        }
      }
      if (next == nullptr) continue;
      for (std::size_t j = 0; j < k_; ++j) {
        if (next[j] != kMissingExpert) ++next_single_[index(next[j])];
      }
      next += k_;
    }
  }

  void finish() {
    out_.counts.loads.assign(kPhases * domains_ * experts_, 0);
    std::copy(loads_.begin(), loads_.end(), out_.counts.loads.begin());
    out_.counts.windows.assign(windows_.begin(), windows_.end());
    std::vector<double> probability(experts_);
    for (std::size_t w = 0; w < walk_.windows; ++w) {
      for (std::size_t e = 0; e < experts_; ++e) probability[e] += out_.counts.windows[w * experts_ + e];
    }
    for (double& p : probability) p /= static_cast<double>(std::max<std::uint64_t>(1, walk_.phase_tokens));
    for (const StepCounter& counter : steps_) out_.steps.push_back(counter.figure(probability));
    for (const StepCounter& counter : same_kind_) out_.same_kind_steps.push_back(counter.figure({}));
    Reuse& reuse = out_.reuse;
    reuse.pooled = able_ > 0 ? static_cast<double>(again_) / static_cast<double>(able_) : kNothing;
    reuse.per_request = reusing_ > 0 ? reuse.per_request / static_cast<double>(reusing_) : kNothing;
    for (const double p : probability) reuse.independent += p * p / static_cast<double>(k_);
    Correlation& correlation = out_.correlation;
    const std::vector<double> picture(picture_.begin(), picture_.end()), rest(rest_.begin(), rest_.end());
    correlation.pooled_pearson = pearson(picture, rest);
    correlation.pooled_spearman = spearman(picture, rest);
    for (Sharpening& at : correlation.after)
      at.pearson = at.requests > 0 ? at.pearson / static_cast<double>(at.requests) : kNothing;
    if (paired_ && k_ > 1) out_.together = co_activation(pairs_, single_, pair_tokens_, k_, plan_.keep_pairs);
    if (has_next_) out_.next = affinity(joint_, single_, next_single_, pair_tokens_, plan_.keep_pairs);
    compare_requests();
  }

  void compare_requests() {
    std::vector<float> length(compared_);
    for (std::size_t r = 0; r < compared_; ++r) {
      double squares = 0;
      for (std::size_t e = 0; e < experts_; ++e) squares += std::pow(usage_[r * experts_ + e], 2);
      length[r] = static_cast<float>(std::sqrt(squares));
    }
    for (std::size_t r = 0; r < compared_; ++r) {
      for (std::size_t q = r + 1; q < compared_; ++q) {
        std::uint64_t dot = 0;
        for (std::size_t e = 0; e < experts_; ++e)
          dot += std::uint64_t{usage_[r * experts_ + e]} * usage_[q * experts_ + e];
        const float both = length[r] * length[q];
        out_.request_cosines.push_back(both > 0 ? static_cast<float>(dot) / both : 0);
      }
    }
  }

  const PassPlan& plan_;
  const Walk& walk_;
  std::size_t layer_, experts_, k_, domains_, compared_ = 0;
  bool paired_ = false, has_next_ = false;
  LayerProfile out_;
  std::uint64_t begin_ = 0, clock_ = 0, again_ = 0, able_ = 0, pair_tokens_ = 0;
  std::size_t reusing_ = 0;
  std::vector<ExpertId> block_, next_block_;
  std::vector<std::uint64_t> loads_, windows_, last_, single_, next_single_;
  Histogram first_part_, second_part_, sorted_, pairs_, joint_, usage_;
  std::vector<std::uint64_t> picture_, rest_;
  std::vector<StepCounter> steps_, same_kind_;
};

}  // namespace

Result<LayerProfile> pass_layer(const PassPlan& plan, std::size_t layer) { return Pass(plan, layer).run(); }

Result<std::vector<float>> sampled_usage(const trace::Trace& trace, const Walk& walk, std::size_t layer) {
  const std::size_t experts = trace.shape().experts, k = trace.shape().top_k;
  std::vector<float> out(walk.sampled.size() * experts);
  std::vector<ExpertId> ids;
  for (const Segment& s : walk.segments) {
    if (s.sampled == kNone) continue;
    const bool prefill = walk.phase == Phase::kPrefill;
    const std::uint64_t from = prefill ? s.begin : s.split, to = prefill ? s.split : s.end;
    ids.resize(static_cast<std::size_t>(to - from) * k);
    MOESAIC_TRY(trace.read_layer(layer, from, to, ids));
    for (const ExpertId id : ids) {
      if (id != kMissingExpert) ++out[s.sampled * experts + index(id)];
    }
  }
  return out;
}

}  // namespace moesaic::profile
