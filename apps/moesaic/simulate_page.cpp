#include "simulate_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace moesaic::app {
namespace {

using report::Axis;
using report::Curves;
using report::Finding;
using report::number;
using report::Section;
using report::Series;
using report::Table;
using simulate::Estimate;
using simulate::Figures;
using simulate::LoadOutcome;
using simulate::PolicyOutcome;
using simulate::SweepOutcome;

using Figure = double Figures::*;

std::string percent(const Estimate& value) {
  return fmt::format("{:+.1f} ±{:.1f}", 100 * value.mean, 100 * value.half);
}

const PolicyOutcome& policy_at(const LoadOutcome& load, std::size_t policy) { return load.policies[policy]; }

/// "running 12 in each decoder", as the file asks for load.
std::string said(const LoadOutcome& load, const simulate::ClusterFile& file, const SweepOutcome& outcome) {
  switch (file.unit) {
    case simulate::LoadUnit::kRates:
      return load.rate == 0 ? "the recorded pace" : fmt::format("{:.4g} requests/s", load.rate);
    case simulate::LoadUnit::kLoads:
      return fmt::format("{:.0f} % of capacity", 100 * load.load);
    case simulate::LoadUnit::kRunning:
      return fmt::format("{:.0f} running in a decoder ({:.0f} % of capacity)", load.load,
                         100 * load.rate / outcome.capacity);
  }
  return {};
}

/// Lowest and highest mean of a change over the loads.
std::string span_of(const SweepOutcome& outcome, std::size_t policy, Figure figure) {
  double low = 1e9, high = -1e9;
  for (const LoadOutcome& load : outcome.loads) {
    const double mean = simulate::change(policy_at(load, policy), base_of(load), figure).mean;
    low = std::min(low, mean), high = std::max(high, mean);
  }
  return outcome.loads.size() == 1 ? fmt::format("{:+.1f} %", 100 * low)
                                   : fmt::format("{:+.1f} to {:+.1f} %", 100 * low, 100 * high);
}

/// At how many loads the median falls, or rises, beyond its interval.
Finding finding_of(const SweepOutcome& outcome, std::size_t policy) {
  std::size_t faster = 0, slower = 0;
  const std::size_t loads = outcome.loads.size();
  for (const LoadOutcome& load : outcome.loads) {
    const Estimate change = simulate::change(policy_at(load, policy), base_of(load), &Figures::tpot_p50_ms);
    faster += change.mean + change.half < 0 ? 1 : 0;
    slower += change.mean - change.half > 0 ? 1 : 0;
  }
  const auto at = [&](const char* what, std::size_t count) {
    return count == loads ? std::string(what) : fmt::format("{} at {} of {} loads", what, count, loads);
  };
  const LoadOutcome& first = outcome.loads.front();
  return {.title = first.policies[policy].name,
          .verdict = slower > 0   ? at("slower", slower)
                     : faster > 0 ? at("faster", faster)
                                  : "no clear difference",
          .text = fmt::format(
              "Against {}: median time per output token {}, 99th percentile {}, distinct experts that "
              "a step reads {}.",
              base_of(first).name, span_of(outcome, policy, &Figures::tpot_p50_ms),
              span_of(outcome, policy, &Figures::tpot_p99_ms),
              span_of(outcome, policy, &Figures::active_experts_per_step)),
          .mood = slower > 0   ? Finding::Mood::kBad
                  : faster > 0 ? Finding::Mood::kGood
                               : Finding::Mood::kNeutral};
}

class PageMaker {
 public:
  PageMaker(const SweepOutcome& outcome, const simulate::ClusterFile& file) : outcome_(outcome), file_(file) {
    for (const PolicyOutcome& policy : outcome.loads.front().policies) names_.push_back(policy.name);
  }

  std::vector<Section> sections() const {
    std::vector<Section> out;
    Section time{.title = "Time per output token",
                 .paragraphs = {"Of a request: from its first token to its last, over the tokens after the "
                                "first. Means over seeds; the tables below have the intervals."}};
    time.items.emplace_back(curve("Median", {.name = "TPOT p50", .unit = "ms"}, &Figures::tpot_p50_ms));
    time.items.emplace_back(
        curve("99th percentile", {.name = "TPOT p99", .unit = "ms"}, &Figures::tpot_p99_ms));
    out.push_back(std::move(time));
    Section why{.title = "Why",
                .paragraphs = {"A decode step reads the weights of every distinct expert that its batch "
                               "activates. A policy that keeps alike requests together reads fewer; one that "
                               "overloads a decoder for it pays in the last percentiles."}};
    why.items.emplace_back(curve("Distinct experts of a step",
                                 {.name = "experts", .unit = "a step, all layers"},
                                 &Figures::active_experts_per_step));
    why.items.emplace_back(
        curve("Requests of a step", {.name = "batch", .unit = "requests"}, &Figures::running));
    why.items.emplace_back(decoders());
    out.push_back(std::move(why));
    Section first{.title = "First token and throughput", .paragraphs = {}};
    first.items.emplace_back(
        curve("Time to first token, median", {.name = "TTFT p50", .unit = "ms"}, &Figures::ttft_p50_ms));
    first.items.emplace_back(
        curve("Output", {.name = "throughput", .unit = "tokens/s"}, &Figures::tokens_per_second));
    out.push_back(std::move(first));
    Section tables{.title = "Figures", .paragraphs = {}};
    for (const LoadOutcome& load : outcome_.loads) {
      tables.items.emplace_back(report::PageTable{
          .title = fmt::format("At {}", said(load, file_, outcome_)),
          .note = fmt::format("{:.2f} requests/s; mean of {} seeds, changes seed by seed with "
                              "95 % intervals.",
                              load.rate, file_.seeds),
          .table = policy_table(load, names_.size() > 1)});
    }
    out.push_back(std::move(tables));
    return out;
  }

 private:
  /// Lines over loads, or a bar for each policy where there is one load.
  Curves curve(std::string title, Axis y, Figure figure) const {
    Curves out{.title = std::move(title), .note = {}, .x = {}, .y = std::move(y), .at = {}, .series = {}};
    const auto mean = [&](const LoadOutcome& load, std::size_t policy) {
      return simulate::estimate(policy_at(load, policy), figure).mean;
    };
    const std::string& base = base_of(outcome_.loads.front()).name;
    if (outcome_.loads.size() == 1) {
      out.bars = true;
      out.x = {.name = "load",
               .unit = "as the file asks",
               .labels = {said(outcome_.loads.front(), file_, outcome_)}};
      out.at = {0};
      for (std::size_t p = 0; p < names_.size(); ++p) {
        out.series.push_back(
            {.name = names_[p], .y = {mean(outcome_.loads.front(), p)}, .reference = names_[p] == base});
      }
      return out;
    }
    const bool shares = file_.unit == simulate::LoadUnit::kLoads;
    out.x = file_.unit == simulate::LoadUnit::kRates ? Axis{.name = "arrivals", .unit = "requests/s"}
            : shares                                 ? Axis{.name = "load", .unit = "% of capacity"}
                                                     : Axis{.name = "load", .unit = "requests in a decoder"};
    // Lines go from the left to the right, whatever the order in the file.
    std::vector<std::size_t> order(outcome_.loads.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t l) { return outcome_.loads[l].load; });
    for (const std::size_t l : order) out.at.push_back(outcome_.loads[l].load * (shares ? 100 : 1));
    for (std::size_t p = 0; p < names_.size(); ++p) {
      Series series{.name = names_[p], .y = {}, .reference = names_[p] == base};
      for (const std::size_t l : order) series.y.push_back(mean(outcome_.loads[l], p));
      out.series.push_back(std::move(series));
    }
    return out;
  }

  /// Output tokens by decoder, over their mean, a view a load.
  report::HeatMap decoders() const {
    const std::size_t workers = file_.cluster.decode.ever();
    report::HeatMap map{.title = "Who makes the tokens",
                        .note = "1 is the mean of the decoders; mean over seeds.",
                        .rows = {.name = "policy", .unit = "name", .labels = names_},
                        .columns = {.name = "decoder", .unit = "id"},
                        .row_count = names_.size(),
                        .column_count = workers,
                        .views = {}};
    for (const LoadOutcome& load : outcome_.loads) {
      report::View view{.name = said(load, file_, outcome_),
                        .value = "output",
                        .unit = "× mean of decoders",
                        .scale = report::Scale::kRatio,
                        .values = std::vector<double>(names_.size() * workers)};
      for (std::size_t p = 0; p < names_.size(); ++p) {
        for (const Figures& run : policy_at(load, p).runs) {
          for (std::size_t d = 0; d < workers; ++d) {
            view.values[p * workers + d] += run.decoder_over_mean[d] / static_cast<double>(file_.seeds);
          }
        }
      }
      map.views.push_back(std::move(view));
    }
    return map;
  }

  const SweepOutcome& outcome_;
  const simulate::ClusterFile& file_;
  std::vector<std::string> names_;
};

}  // namespace

const PolicyOutcome& base_of(const LoadOutcome& load) {
  const auto jsq = std::ranges::find(load.policies, "jsq", &PolicyOutcome::name);
  return jsq == load.policies.end() ? load.policies.front() : *jsq;
}

Table policy_table(const LoadOutcome& load, bool compared) {
  const PolicyOutcome& base = base_of(load);
  Table table({"\npolicy", "TPOT\np50 ms", "\nchange %", "TPOT\np99 ms", "\nchange %", "experts\na step",
               "\nchange %", "TTFT\np50 ms", "a\nbatch"});
  for (const PolicyOutcome& policy : load.policies) {
    const auto mean = [&](Figure figure) { return simulate::estimate(policy, figure).mean; };
    const auto change = [&](Figure figure) {
      return !compared || &policy == &base ? std::string("-")
                                           : percent(simulate::change(policy, base, figure));
    };
    table.add({policy.name, number(mean(&Figures::tpot_p50_ms), 2), change(&Figures::tpot_p50_ms),
               number(mean(&Figures::tpot_p99_ms), 2), change(&Figures::tpot_p99_ms),
               number(mean(&Figures::active_experts_per_step), 1), change(&Figures::active_experts_per_step),
               number(mean(&Figures::ttft_p50_ms), 1), number(mean(&Figures::running), 1)});
  }
  return table;
}

report::Page simulate_page(const SweepOutcome& outcome, const simulate::ClusterFile& file,
                           const std::string& cluster) {
  report::Page page{.title = "Which decode policy pays",
                    .subtitle = fmt::format("{}, serving {}", cluster, file.trace),
                    .facts = {{"prefill workers", std::to_string(file.cluster.prefill.workers)},
                              {"decode workers", std::to_string(file.cluster.decode.workers)},
                              {"requests served", std::to_string(outcome.requests)},
                              {"learnt from", std::to_string(outcome.training_requests)},
                              {"capacity", fmt::format("{:.1f} requests/s", outcome.capacity)},
                              {"seeds", std::to_string(file.seeds)}},
                    .summary = {},
                    .sections = PageMaker(outcome, file).sections(),
                    .notes = outcome.notes};
  const std::string& base = base_of(outcome.loads.front()).name;
  for (std::size_t p = 0; p < outcome.loads.front().policies.size(); ++p) {
    if (outcome.loads.front().policies[p].name != base) page.summary.push_back(finding_of(outcome, p));
  }
  double held = 0;
  for (const LoadOutcome& load : outcome.loads) {
    for (const PolicyOutcome& policy : load.policies) held += simulate::estimate(policy, &Figures::held).mean;
  }
  if (held > 0) {
    page.notes.emplace_back(
        "At some load every recorded request was running and arrivals waited for one to end: the trace is "
        "too "
        "small for it, distrust those figures.");
  }
  return page;
}

}  // namespace moesaic::app
