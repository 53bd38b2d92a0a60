#include "profile/in_words.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace moesaic::profile {
namespace {

using Mood = Remark::Mood;

bool known(double value) { return !std::isnan(value); }
std::string percent(double share) { return fmt::format("{:.0f} %", 100 * share); }

/// Thresholds of the verdicts; docs/profile.md names them.
constexpr double kEven = 1.5, kVeryUneven = 4;  // hottest expert / mean
constexpr double kPays = 0.95;                  // of the figure without: balance
constexpr double kGroupingPays = 0.9;           // of the rows that leave under random homes
constexpr double kStepsPay = 0.95;              // of the distinct experts of a mixed step
constexpr double kTellsMuch = 0.6, kTellsSome = 0.3;
constexpr double kApart = 0.05;     // bits
constexpr double kReplan = 0.1;     // lost on the next window
constexpr double kSettled = 0.9;    // of the picture after the whole prefill
constexpr std::size_t kBatch = 64;  // the batch size that the text speaks of, where it was looked at

Remark load(const Profile& p) {
  const PhaseFigures& main = p.main();
  const auto worst =
      std::max_element(main.layers.begin(), main.layers.end(), [](const Spread& a, const Spread& b) {
        return !(a.max_over_mean >= b.max_over_mean) && known(b.max_over_mean);
      });
  const double hottest = main.average.max_over_mean;
  const auto layer = p.layers[static_cast<std::size_t>(worst - main.layers.begin())];
  Remark out{.topic = "Load",
             .verdict = hottest < kEven         ? "even"
                        : hottest < kVeryUneven ? "uneven"
                                                : "very uneven",
             .mood = hottest < kEven         ? Mood::kGood
                     : hottest < kVeryUneven ? Mood::kNeutral
                                             : Mood::kBad,
             .text = {}};
  out.text = fmt::format(
      "In an average layer the hottest of {} experts takes {:.2f} × the mean ({:.1f} × in the worst, layer "
      "{}), "
      "Gini {:.2f}.",
      p.experts, hottest, worst->max_over_mean, layer, main.average.gini);
  if (main.average.unused > 0)
    out.text += fmt::format(" {} experts a layer are never chosen.", main.average.unused);
  if (p.balance.gpus > 1)
    out.text += fmt::format(
        " In id order over {} GPUs the busiest has {:.2f} × the mean, so the average GPU idles {} of the "
        "time "
        "that experts take.",
        p.balance.gpus, p.balance.contiguous, percent(1 - 1 / p.balance.contiguous));
  return out;
}

/// Whether `after` is worth having instead of `before`: at most `pays` of it.
Remark worth(std::string topic, double after, double before, double pays) {
  Remark out{.topic = std::move(topic), .verdict = "pays little", .mood = Mood::kNeutral, .text = {}};
  if (after <= pays * before) {
    out.verdict = "pays";
    out.mood = Mood::kGood;
  } else if (after >= before) {
    out.verdict = "does not pay";
    out.mood = Mood::kBad;
  }
  return out;
}

/// On later traffic where there is any, else on the traffic it was made on.
double reached(const BalanceGain& gain) { return known(gain.held_out) ? gain.held_out : gain.in_sample; }

Remark placement(const Profile& p) {
  const BalanceGain& plain = p.balance.steps.front();
  const double before = p.balance.contiguous, after = reached(plain);
  Remark out = worth("Placement for balance", after, before, kPays);
  out.text = fmt::format(
      "Whole experts moved so that {} GPUs are even: busiest GPU {:.2f} × the mean on the traffic "
      "it was planned on",
      p.balance.gpus, plain.in_sample);
  out.text += known(plain.held_out) ? fmt::format(" and {:.2f} × on later traffic", plain.held_out)
                                    : std::string(" (one window: nothing later to check it on)");
  out.text += fmt::format(", {:.2f} × in id order. No plan can be below {:.2f} ×.", before, plain.bound);
  return out;
}

Remark replicas(const Profile& p) {
  const double before = std::min(p.balance.contiguous, reached(p.balance.steps.front()));
  std::string figures;
  double best = before;
  std::size_t cheapest = 0;  // the first step that pays
  for (std::size_t i = 1; i < p.balance.steps.size(); ++i) {
    const BalanceGain& step = p.balance.steps[i];
    figures += fmt::format("{}+{:.0f} %: {:.2f} ×", i > 1 ? ", " : "", 100 * step.extra, reached(step));
    best = std::min(best, reached(step));
    if (cheapest == 0 && reached(step) <= kPays * before) cheapest = i;
  }
  Remark out{.topic = "Replicas",
             .verdict = cheapest > 0
                            ? fmt::format("pay from +{:.0f} %", 100 * p.balance.steps[cheapest].extra)
                            : "do not pay",
             .mood = cheapest > 0 ? Mood::kGood : Mood::kNeutral,
             .text = {}};
  out.text = fmt::format("Extra slots for the hottest experts, busiest GPU {}: {} (without: {:.2f} ×).",
                         known(p.balance.steps.front().held_out) ? "on later traffic" : "on the same traffic",
                         figures, before);
  return out;
}

Remark grouping(const Profile& p) {
  const GroupGain& plain = p.grouping.steps.front();
  Remark out = worth("Grouping", plain.held_out, p.grouping.random, kGroupingPays);
  out.text = fmt::format(
      "With random homes {} of all rows leave their node of {}. Requests of like experts on one node, and "
      "experts "
      "placed by group, bring that to {} on requests the placement had not seen. At best it is {} for these "
      "groups and {} for any.",
      percent(p.grouping.random), p.grouping.nodes, percent(plain.held_out), percent(plain.group_bound),
      percent(plain.bound));
  if (p.grouping.steps.size() > 2)
    out.text += fmt::format(" With +{:.0f} % slots: {}.", 100 * p.grouping.steps[2].extra,
                            percent(p.grouping.steps[2].held_out));
  return out;
}

Remark domains(const Profile& p) {
  const std::size_t n = p.domains.size();
  std::pair<std::size_t, std::size_t> most{0, 0}, least{0, 0};
  double high = -1, low = 2;
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t b = a + 1; b < n; ++b) {
      const double bits = p.between.jensen_shannon_bits[a * n + b];
      if (bits > high) high = bits, most = {a, b};
      if (bits < low) low = bits, least = {a, b};
    }
  }
  const bool apart = high >= kApart;
  Remark out{.topic = "Domains",
             .verdict = apart ? "use different experts" : "use the same experts",
             .mood = apart ? Mood::kGood : Mood::kNeutral,
             .text = {}};
  out.text =
      fmt::format("{} and {} differ{} by {:.3f} bits of Jensen-Shannon divergence (0 = same, 1 = disjoint)",
                  p.domains[most.first], p.domains[most.second], n > 2 ? " most," : "", high);
  out.text += n > 2 ? fmt::format("; {} and {} least, by {:.3f}.", p.domains[least.first],
                                  p.domains[least.second], low)
                    : std::string(".");
  std::size_t generic = 0;
  for (const auto& experts : p.generic.experts) generic += experts.size();
  out.text += fmt::format(" {:.1f} experts a layer are busy in every domain and take {} of the rows.",
                          static_cast<double>(generic) / static_cast<double>(p.layers.size()),
                          percent(p.generic.share));
  if (known(p.clusters.agreement))
    out.text +=
        fmt::format(" {} kinds of requests found without labels agree with the labels to {:.2f} of 1.",
                    p.clusters.count, p.clusters.agreement);
  return out;
}

Remark kinds(const Profile& p) {
  return {.topic = "Kinds of requests",
          .verdict = "",
          .mood = Mood::kNeutral,
          .text = fmt::format(
              "There are no labels. {} kinds found in the requests' use of experts hold {} of the sampled "
              "requests in the largest; a request is {:.2f} like the centre of its kind (cosine).",
              p.clusters.count,
              percent(static_cast<double>(p.clusters.sizes.front()) /
                      static_cast<double>(p.clusters.cluster_of_sampled.size())),
              p.clusters.within)};
}

Remark steps(const Profile& p) {
  const StepsOfBatch* chosen = nullptr;
  for (const StepsOfBatch& s : p.steps) {
    if (s.mixed.steps > 0 && (chosen == nullptr || s.batch <= kBatch)) chosen = &s;
  }
  const StepFigure& mixed = chosen->mixed;
  const StepFigure& same = chosen->same_kind;
  const bool compared = same.steps > 0;
  const bool pays = compared && same.distinct <= kStepsPay * mixed.distinct;
  Remark out{.topic = p.main_phase == "prefill" ? "Steps" : "Decode steps",
             .verdict = !compared ? ""
                        : pays    ? "batches of one domain pay"
                                  : "batches of one domain do not pay",
             .mood = pays ? Mood::kGood : Mood::kNeutral,
             .text = {}};
  out.text = fmt::format(
      "A step of {} tokens of different requests uses {:.1f} of {} experts a layer ({:.1f} if tokens were "
      "independent); its hottest takes {:.2f} × the mean.",
      chosen->batch, mixed.distinct, p.experts, mixed.distinct_independent, mixed.max_over_mean);
  if (compared)
    out.text += fmt::format(" Of one domain it uses {:.1f}, {} fewer weights to read.", same.distinct,
                            percent(std::max(0.0, 1 - same.distinct / mixed.distinct)));
  return out;
}

Remark prefill(const Profile& p) {
  const Correlations& c = p.correlation;
  const double r = c.pearson.mean;
  Remark out{.topic = "Prefill and decode",
             .verdict = r >= kTellsMuch   ? "prefill tells much"
                        : r >= kTellsSome ? "prefill tells some"
                                          : "prefill tells little",
             .mood = r >= kTellsMuch   ? Mood::kGood
                     : r >= kTellsSome ? Mood::kNeutral
                                       : Mood::kBad,
             .text = {}};
  out.text = fmt::format(
      "A request's prefill loads correlate with its decode's at {:.2f} (Pearson, mean of {} requests; one in "
      "ten "
      "below {:.2f}), pooled over requests at {:.2f}.",
      r, c.requests, c.pearson.p10, c.pooled_pearson);
  if (c.stand_in) out.text += " The decode's first third stands in for the prefill, which is not recorded.";
  for (std::size_t i = 0; i < c.after.size(); ++i) {
    if (c.after[i].pearson < kSettled * r || c.after[i].requests < c.requests / 2) continue;
    out.text += fmt::format(" {} tokens are enough for {:.2f}.", std::size_t{1} << i, c.after[i].pearson);
    break;
  }
  return out;
}

Remark time(const Profile& p) {
  const bool steady = p.drift.lost < kReplan;
  Remark out{.topic = "Time",
             .verdict = steady ? "plans keep" : "plans age",
             .mood = steady ? Mood::kGood : Mood::kBad,
             .text = {}};
  out.text = fmt::format(
      "Placed for one of {} windows, GPUs are {} less even on the next than placed for that one ({:.1f} % on "
      "average). "
      "Neighbouring windows differ by {:.3f} bits, the farthest by {:.3f}.",
      p.windows, steady ? "little" : "clearly", 100 * p.drift.lost, p.drift.by_lag.front(),
      p.drift.by_lag.back());
  if (!p.arrivals)
    out.text += " Without arrival times windows follow the order of the trace, which may be sorted.";
  return out;
}

Remark structure(const Profile& p) {
  const Structure& s = p.structure;
  Remark out{.topic = "Structure", .verdict = "", .mood = Mood::kNeutral, .text = {}};
  out.text =
      fmt::format("{} of a token's experts are those of the token before ({} if tokens were independent).",
                  percent(s.reuse), percent(s.reuse_independent));
  if (known(s.mean_lift))
    out.text += fmt::format(
        " A token's pairs of experts occur {:.2f} × as often as chance (a router without likings: {:.2f}).",
        s.mean_lift, s.uniform_lift);
  if (known(s.followed))
    out.text +=
        fmt::format(" The expert of one layer guesses one of the next layer right for {} ({} unseen).",
                    percent(s.followed), percent(s.followed_independent));
  return out;
}

}  // namespace

std::vector<Remark> in_words(const Profile& p) {
  std::vector<Remark> out{load(p)};
  if (p.balance.gpus > 1 && known(p.balance.contiguous)) {
    out.push_back(placement(p));
    out.push_back(replicas(p));
  }
  if (!p.grouping.steps.empty() && p.grouping.nodes > 1) out.push_back(grouping(p));
  if (p.domains.size() > 1) out.push_back(domains(p));
  if (p.domains.size() < 2 && p.clusters.count > 0) out.push_back(kinds(p));
  if (std::any_of(p.steps.begin(), p.steps.end(), [](const StepsOfBatch& s) { return s.mixed.steps > 0; }))
    out.push_back(steps(p));
  if (p.correlation.requests > 0 && known(p.correlation.pearson.mean)) out.push_back(prefill(p));
  if (known(p.drift.lost)) out.push_back(time(p));
  if (known(p.structure.reuse)) out.push_back(structure(p));
  return out;
}

}  // namespace moesaic::profile
