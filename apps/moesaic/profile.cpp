#include "profile/profile.hpp"

#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "command.hpp"
#include "profile/in_words.hpp"
#include "profile_compare.hpp"
#include "profile_page.hpp"
#include "report/table.hpp"

namespace moesaic::app {
namespace {

using report::number;

struct Options {
  std::string trace, compared_with, json, html;
  profile::Options profile;
  std::size_t threads = 0;
};

std::string percent(double share) { return std::isnan(share) ? "-" : number(100 * share, 1); }

std::string steps_table(const profile::Profile& p) {
  report::Table table({"tokens\na step", "distinct\nexperts", "if inde-\npendent", "one\ndomain",
                       "hottest\n/ mean", "p95", "if inde-\npendent"});
  for (const profile::StepsOfBatch& s : p.steps) {
    if (s.mixed.steps == 0) continue;
    table.add({fmt::format("{}", s.batch), number(s.mixed.distinct, 1),
               number(s.mixed.distinct_independent, 1),
               number(s.same_kind.steps > 0 ? s.same_kind.distinct : std::nan(""), 1),
               number(s.mixed.max_over_mean, 2), number(s.mixed.max_over_mean_p95, 2),
               number(s.mixed.max_over_mean_independent, 2)});
  }
  return table.text();
}

std::string gains_table(const profile::Profile& p) {
  report::Table table({"extra\nslots %", "balance\nbound", "in\nsample", "held\nout", "rows leaving %\nbound",
                       "these\ngroups", "held\nout"});
  for (std::size_t i = 0; i < p.balance.steps.size(); ++i) {
    const profile::BalanceGain& b = p.balance.steps[i];
    const bool grouped = i < p.grouping.steps.size();
    const profile::GroupGain g = grouped ? p.grouping.steps[i] : profile::GroupGain{};
    const auto share = [&](double value) { return grouped ? percent(value) : std::string("-"); };
    table.add({number(100 * b.extra, 0), number(b.bound, 2), number(b.in_sample, 2), number(b.held_out, 2),
               share(g.bound), share(g.group_bound), share(g.held_out)});
  }
  return table.text();
}

/// In lines of at most report::kMaxWidth, cut at spaces.
std::string wrapped(std::string text) {
  for (std::size_t begin = 0; text.size() - begin > report::kMaxWidth;) {
    const std::size_t space = text.rfind(' ', begin + report::kMaxWidth);
    if (space == std::string::npos || space <= begin) break;
    text[space] = '\n';
    begin = space + 1;
  }
  return text + "\n";
}

void print(const Options& options, const profile::Profile& p) {
  fmt::print("{}:\n{} MoE layers x {} experts, k = {}; {} requests, {} tokens\n\n", options.trace,
             p.layers.size(), p.experts, p.top_k, report::with_commas(p.requests),
             report::with_commas(p.tokens));
  for (const profile::Remark& remark : profile::in_words(p)) {
    const std::string verdict = remark.verdict.empty() ? "" : " (" + remark.verdict + ")";
    fmt::print("{}", wrapped(remark.topic + verdict + ": " + remark.text));
  }
  fmt::print("\nLoads, means over layers\n{}\n", loads_table(p).text());
  if (!p.steps.empty() && p.steps.front().mixed.steps > 0)
    fmt::print("What a step of tokens of different requests sees\n{}\n", steps_table(p));
  const profile::Structure& s = p.structure;
  if (!std::isnan(s.reuse))
    fmt::print(
        "Reuse from one token to the next: {} % of experts (mean over requests; {} % if independent)\n",
        percent(s.reuse_per_request), percent(s.reuse_independent));
  if (!std::isnan(s.mean_lift))
    fmt::print("Lift of the pairs a token chooses: {} (a router without likings: {})\n",
               number(s.mean_lift, 2), number(s.uniform_lift, 2));
  if (!std::isnan(s.followed))
    fmt::print("Likeliest expert of the next layer: right for {} % (unseen: {} %); {} bits shared\n",
               percent(s.followed), percent(s.followed_independent), number(s.information_bits, 3));
  if (p.correlation.requests > 0)
    fmt::print("Prefill and decode loads: Pearson {} pooled, {} a request; Spearman {} and {}\n",
               number(p.correlation.pooled_pearson, 2), number(p.correlation.pearson.mean, 2),
               number(p.correlation.pooled_spearman, 2), number(p.correlation.spearman.mean, 2));
  if (!p.drift.next.empty())
    fmt::print("A plan made on one window is {} % less even on the next than one made on that\n",
               percent(p.drift.lost));
  fmt::print(
      "\nWhat is to be gained: max/mean over {} GPUs (contiguous: {}), rows that leave one of {} nodes\n{}",
      p.balance.gpus, number(p.balance.contiguous, 2), p.grouping.nodes, gains_table(p));
  fmt::print("bound = nothing passes it; in sample, held out = reached by a simple plan.\n");
  for (const std::string& sentence : p.cannot) fmt::print("{}", wrapped("Note: " + sentence));
}

Status write_page(Context& context, const Options& options, const report::Page& page) {
  if (options.html.empty()) return {};
  MOESAIC_TRY(report::write(page, context.files, options.html, true));
  if (options.json != "-") fmt::print("\nThe page is {}.\n", options.html);
  return {};
}

Result<profile::Profile> profiled(Context& context, const Options& options, const std::string& path,
                                  ThreadPool& pool) {
  const auto trace = trace::Trace::open(context.files, path);
  MOESAIC_TRY(comm::agree(context.comm, trace));
  MOESAIC_TRY(comm::same_everywhere(context.comm, trace->digest(), "trace"));
  progress("profiling " + path);
  profile::Options asked = options.profile;
  asked.on_layer = [&](std::size_t done, std::size_t of) {
    progress(fmt::format("profiling {}: layer {} of {}", path, done, of));
  };
  auto result = profile::profile_trace(*trace, asked, pool, context.comm);
  progress_done();
  return result;
}

Status run_comparison(Context& context, const Options& options, ThreadPool& pool) {
  MOESAIC_ASSIGN(const profile::Profile a, profiled(context, options, options.compared_with, pool));
  MOESAIC_ASSIGN(const profile::Profile b, profiled(context, options, options.trace, pool));
  if (!context.comm.is_root()) return {};  // the root prints and writes
  const profile::Comparison comparison = profile::compare(a, b);
  if (options.json != "-") {
    fmt::print("A: {}\nB: {}\n\n", options.compared_with, options.trace);
    for (const report::Finding& finding : comparison_in_words(comparison, a, b))
      fmt::print("{}", wrapped(fmt::format("{} ({}): {}", finding.title, finding.verdict, finding.text)));
    fmt::print("\n{}", comparison_table(comparison).text());
  }
  MOESAIC_TRY(
      write_page(context, options, comparison_page(comparison, a, b, options.compared_with, options.trace)));
  return write_json(context, options.json, profile::to_json(comparison, a, b));
}

Status run(Context& context, const Options& options) {
  if (!options.html.empty()) MOESAIC_TRY(report::can_render());
  ThreadPool pool(options.threads);
  if (!options.compared_with.empty()) return run_comparison(context, options, pool);
  MOESAIC_ASSIGN(const profile::Profile result, profiled(context, options, options.trace, pool));
  if (!context.comm.is_root()) return {};  // the root prints and writes
  if (options.json != "-") print(options, result);
  MOESAIC_TRY(write_page(context, options, profile_page(result, options.trace)));
  return write_json(context, options.json, profile::to_json(result));
}

}  // namespace

void add_profile(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("profile", "What a trace means for grouping, placement and replicas");
  command->add_option("trace", options->trace, "Trace store")->required();
  command->add_option("--gpus", options->profile.gpus, "GPUs of the balance estimates")
      ->capture_default_str()
      ->check(CLI::Range(1, 65'536));
  command->add_option("--nodes", options->profile.nodes, "Nodes of the grouping estimates")
      ->capture_default_str()
      ->check(CLI::Range(1, 4'096));
  command->add_option("--windows", options->profile.windows, "Stretches a per-token trace is cut into")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  command->add_option("--threads", options->threads, "Threads; 0 = one a core")->capture_default_str();
  command->add_option("--json", options->json, "Write everything as JSON; - = stdout, and no tables");
  command->add_option("--compare", options->compared_with, "Another trace to compare with: --compare A B");
  command->add_option("--html", options->html, "Write a page of charts: one file, opened from disk");
  run_when_chosen(*command, context, [&context, options] { return run(context, *options); });
}

}  // namespace moesaic::app
