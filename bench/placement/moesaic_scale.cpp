// How long does `moesaic` take at the size of DeepSeek-V3: 58 layers x 256 experts, k = 8, on 8 nodes x 8
// GPUs? Tokens are resampled from a real trace, whose requests, domains and co-activation they keep:
// a made layer has 256 / E groups of E experts, each group a layer of the trace (in DeepSeek-V3 too a token
// picks its experts in a few of 8 groups of 32). A made token is a real one: what it chose in one more layer
// says which groups, and there it takes what it chose in their layers, in turn until it has 8. Requests of
// the trace come again until there are enough tokens, each time with its tokens' choices in the groups
// shifted against those of the groups, so that sets are new. Homes are those a plan of the trace would give.
// Layers are made whenever the planner reads one, and making them is timed apart.
//   bench_moesaic_scale trace=oss.zarr [tokens=1000000] [layers=58] [slots=4] [threads=2] [limit=0]
//   [growth=1]
// limit: --max-imbalance in percent, 0 = the planner's own. growth=10: plans 10 x the tokens too, and says
// how processor time grew; without it `linear`, `eplb` and `patterns` stand beside.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string_view>
#include <utility>

#include "core/balance.hpp"
#include "io/files.hpp"
#include "placement/algorithm.hpp"
#include "planning/split.hpp"
#include "trace/trace.hpp"

namespace moesaic {
namespace {

constexpr std::size_t kExperts = 256, kTopK = 8;
constexpr Topology kTopology{.nodes = 8, .gpus_per_node = 8};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::int64_t cpu_nanoseconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// The planned requests of a trace, whole in memory.
struct Real {
  std::size_t experts = 0, top_k = 0;
  std::vector<traffic::Segment> segments;     ///< with homes on kTopology
  std::vector<std::vector<ExpertId>> layers;  ///< [L][tokens, k]
};

Result<Real> read_real(const std::string& path, ThreadPool& pool) {
  MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(io::real_files(), path));
  if (trace.kind() != trace::Kind::kTokens || trace.shape().experts == 0 ||
      kExperts % trace.shape().experts != 0 || trace.shape().experts == kExperts) {
    return bad_input(fmt::format("{}: expected tokens of a model whose experts divide {} two or more times.",
                                 path, kExperts));
  }
  const evaluate::PhaseChoice phases = evaluate::default_phases(trace);
  MOESAIC_ASSIGN(
      const planning::Split split,
      planning::Split::make(
          trace, {.topology = kTopology, .phase = phases.phase, .from = phases.from, .unseen = {}}, pool));
  Real real{.experts = trace.shape().experts, .top_k = trace.shape().top_k, .segments = {}, .layers = {}};
  real.segments = split.planned().segments(split.planned_homes().of_request);
  for (std::size_t row = 0; row < trace.shape().layers.size(); ++row) {
    MOESAIC_ASSIGN(std::vector<ExpertId> layer, split.planned().read_layer(row));
    real.layers.push_back(std::move(layer));
  }
  return real;
}

class MadeDemand final : public placement::Demand {
 public:
  MadeDemand(const Real& real, std::size_t tokens, std::size_t layers, ThreadPool& pool)
      : real_(real), groups_(kExperts / real.experts), loads_(layers * kExperts) {
    shape_.model_layers = layers;
    shape_.experts = kExperts;
    shape_.top_k = kTopK;
    for (std::size_t l = 0; l < layers; ++l) shape_.layers.push_back(LayerId(l));
    for (std::size_t made = 0, i = 0; made < tokens; ++i) {
      traffic::Segment segment = real.segments[i % real.segments.size()];
      segment.request = static_cast<std::uint32_t>(i);
      segment.begin = made;
      segment.count = std::min(segment.count, tokens - made);
      made += segment.count;
      segments_.push_back(segment);
    }
    pool.parallel_for(layers, [&](std::size_t row) {
      const auto made = layer(row);
      for (const ExpertId expert : made->experts)
        if (expert != kMissingExpert) ++loads_[row * kExperts + index(expert)];
    });
  }
  const ModelShape& shape() const override { return shape_; }
  std::span<const double> loads() const override { return loads_; }
  bool has_tokens() const override { return true; }
  Result<placement::LayerDemand> layer(std::size_t row) const override {
    const std::int64_t start = cpu_nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    placement::LayerDemand demand{.experts = {}, .segments = segments_};
    demand.experts.reserve((segments_.back().begin + segments_.back().count) * kTopK);
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      const traffic::Segment& from = real_.segments[i % real_.segments.size()];
      const std::size_t shift = i / real_.segments.size() * 13;
      for (std::size_t t = 0; t < segments_[i].count; ++t)
        make(row, from.begin + t, from.begin + (t + shift) % from.count, demand.experts);
    }
    making_nanoseconds_ += cpu_nanoseconds(CLOCK_THREAD_CPUTIME_ID) - start;
    return demand;
  }
  /// Processor time that making took so far.
  double making() const { return static_cast<double>(making_nanoseconds_) / 1e9; }

 private:
  /// One token's experts: the groups that `token` says, filled with what `other` of the same request chose.
  void make(std::size_t row, std::size_t token, std::size_t other, std::vector<ExpertId>& out) const {
    const std::size_t layers = real_.layers.size(), k = real_.top_k;
    const auto chose = [&](std::size_t layer, std::size_t at) {
      return std::span(real_.layers[layer % layers]).subspan(at * k, k);
    };
    std::size_t groups[kTopK], count = 0;
    const auto add = [&](std::size_t group) {
      if (count < kTopK && std::find(groups, groups + count, group) == groups + count)
        groups[count++] = group;
    };
    for (const ExpertId e : chose(row + row / layers + layers / 2 + 1, token))
      if (e != kMissingExpert) add(index(e) * groups_ / real_.experts);
    if (count == 0) add(0);
    for (std::size_t next = 1; count * k < kTopK && next < groups_; ++next) add((groups[0] + next) % groups_);
    std::size_t left = kTopK;
    for (std::size_t turn = 0; turn < k && left > 0; ++turn) {
      for (std::size_t g = 0; g < count && left > 0; ++g, --left) {
        const auto there = chose(row + groups[g] * layers / groups_, other);
        const ExpertId e = there[(turn + token) % k];  // stored in ascending order
        out.push_back(e == kMissingExpert ? e : ExpertId(groups[g] * real_.experts + index(e)));
      }
    }
    out.insert(out.end(), left, kMissingExpert);
  }

  const Real& real_;
  std::size_t groups_;
  ModelShape shape_;
  std::vector<double> loads_;
  std::vector<traffic::Segment> segments_;
  mutable std::atomic<std::int64_t> making_nanoseconds_{0};
};

struct Options {
  std::string trace;
  std::size_t tokens = 1'000'000, layers = 58, slots = 4, threads = 2, limit = 0, growth = 1;
};

/// Plans, prints, and returns the processor seconds of planning; < 0: it failed.
double time_plan(const char* name, const MadeDemand& demand, std::size_t tokens, const Options& options,
                 ThreadPool& pool) {
  const auto algorithm = placement::find_algorithm(name);
  if (!algorithm) return fmt::print(stderr, "{}\n", algorithm.error().message), -1;
  const double made = demand.making();
  const std::int64_t cpu = cpu_nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  const auto start = std::chrono::steady_clock::now();
  const auto plan = (*algorithm)
                        ->place({.demand = demand,
                                 .topology = kTopology,
                                 .slots_per_gpu = options.slots,
                                 .objective = {},
                                 .max_imbalance = static_cast<double>(options.limit) / 100,
                                 .pool = &pool});
  const double seconds = seconds_since(start), making = demand.making() - made;
  const double planning = static_cast<double>(cpu_nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9 - making;
  if (!plan) return fmt::print(stderr, "{}\n", plan.error().message), -1;
  double copies = 0, imbalance = 0;  // means over layers
  for (std::size_t row = 0; row < options.layers; ++row) {
    const auto layer = demand.layer(row);
    const auto score = traffic::score_layer(layer->view(LayerId(row), kTopK), kTopology, kExperts,
                                            plan->placement.layer(row), {});
    std::vector<std::int64_t> rows(kTopology.nodes);
    for (std::size_t g = 0; g < score.gpu_rows.size(); ++g)
      rows[g / kTopology.gpus_per_node] += score.gpu_rows[g];
    copies += static_cast<double>(score.dedup.node) / static_cast<double>(score.tokens);
    imbalance += max_over_mean(rows);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print(
      "{:9} {} tokens x {} layers, {} threads: {:.1f} s wall; processor {:.1f} s to plan, {:.1f} s to make "
      "tokens; "
      "peak {} MiB; {:.3f} node copies a token and layer at {:.3f} node max/mean\n",
      name, tokens, options.layers, options.threads, seconds, planning, making, usage.ru_maxrss / 1024,
      copies / static_cast<double>(options.layers), imbalance / static_cast<double>(options.layers));
  std::fflush(stdout);  // the next plan may take minutes
  return planning;
}

int run(int argc, char** argv) {
  Options options;
  const std::pair<std::string_view, std::size_t*> known[] = {
      {"tokens", &options.tokens},   {"layers", &options.layers}, {"slots", &options.slots},
      {"threads", &options.threads}, {"limit", &options.limit},   {"growth", &options.growth}};
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i], key = argument.substr(0, argument.find('='));
    if (key == "trace" && key.size() < argument.size()) {
      options.trace = argument.substr(key.size() + 1);
      continue;
    }
    const auto* const found =
        std::ranges::find(known, key, &std::pair<std::string_view, std::size_t*>::first);
    if (found == std::end(known) || key.size() == argument.size()) {
      return fmt::print(stderr,
                        "{}: expected trace=, tokens=, layers=, slots=, threads=, limit= or growth=.\n",
                        argument),
             2;
    }
    *found->second = std::strtoul(argv[i] + key.size() + 1, nullptr, 10);
  }
  ThreadPool pool(options.threads);
  const auto real = read_real(options.trace, pool);
  if (!real) return fmt::print(stderr, "trace={}: {}\n", options.trace, real.error().message), 2;
  const MadeDemand demand(*real, options.tokens, options.layers, pool);
  if (options.growth <= 1) {
    for (const char* name : {"linear", "eplb", "patterns", "moesaic"}) {
      if (time_plan(name, demand, options.tokens, options, pool) < 0) return 2;
    }
    return 0;
  }
  const double few = time_plan("moesaic", demand, options.tokens, options, pool);
  const std::size_t more = options.growth * options.tokens;
  const double many =
      time_plan("moesaic", MadeDemand(*real, more, options.layers, pool), more, options, pool);
  if (few < 0 || many < 0) return 2;
  fmt::print("{} x the tokens take {:.2f} x the processor time to plan.\n", options.growth, many / few);
  return 0;
}

}  // namespace
}  // namespace moesaic

int main(int argc, char** argv) { return moesaic::run(argc, argv); }
