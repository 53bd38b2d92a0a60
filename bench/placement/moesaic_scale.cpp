// How long does `moesaic` take at the size of DeepSeek-V3: 58 layers x 256 experts, k = 8, on 8 nodes x 8
// GPUs? Tokens are made: every request has a topic, a topic prefers 40 experts a layer whose weights fall
// as 1 / rank; two of three choices come from them. They are made a layer at a time, whenever the planner
// reads one, and making them is timed apart.
//   bench_moesaic_scale [tokens=1000000] [layers=58] [slots=4] [threads=2] [limit=0] [growth=1]
// limit: --max-imbalance in percent, 0 = the planner's own. growth=10: plans 10 x the tokens too, and says
// how processor time grew; without it `patterns` stands beside.
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

#include "core/random.hpp"
#include "placement/algorithm.hpp"

namespace moesaic {
namespace {

constexpr std::size_t kExperts = 256, kTopK = 8, kTopics = 64, kPreferred = 40, kRequestTokens = 200;
constexpr Topology kTopology{.nodes = 8, .gpus_per_node = 8};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::int64_t cpu_nanoseconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

class MadeDemand final : public placement::Demand {
 public:
  MadeDemand(std::size_t tokens, std::size_t layers) : loads_(layers * kExperts, 1.0) {
    shape_.model_layers = layers;
    shape_.experts = kExperts;
    shape_.top_k = kTopK;
    for (std::size_t l = 0; l < layers; ++l) shape_.layers.push_back(LayerId(l));
    Pcg32 random(7);
    for (std::size_t r = 0; r < tokens / kRequestTokens; ++r) {
      topics_.push_back(random.below(kTopics));
      const std::size_t node = topics_.back() % kTopology.nodes;
      segments_.push_back({.request = static_cast<std::uint32_t>(r),
                           .home = HomeId(node * kTopology.gpus_per_node + random.below(8)),
                           .begin = r * kRequestTokens,
                           .count = kRequestTokens});
    }
  }
  const ModelShape& shape() const override { return shape_; }
  std::span<const double> loads() const override { return loads_; }
  bool has_tokens() const override { return true; }
  Result<placement::LayerDemand> layer(std::size_t row) const override {
    const std::int64_t start = cpu_nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    Pcg32 random(11, row);
    std::vector<std::uint16_t> liked(kTopics * kPreferred);
    for (auto& e : liked) e = static_cast<std::uint16_t>(random.below(kExperts));
    placement::LayerDemand demand{.experts = {}, .segments = segments_};
    demand.experts.reserve(segments_.size() * kRequestTokens * kTopK);
    for (std::size_t r = 0; r < segments_.size(); ++r) {
      for (std::size_t t = 0; t < kRequestTokens; ++t) {
        std::uint64_t seen[4] = {};
        for (std::size_t chosen = 0; chosen < kTopK;) {
          std::uint32_t e = random.below(kExperts);
          if (random.below(3) != 0) {
            const std::uint32_t rank = random.below(random.below(kPreferred) + 1);
            e = liked[topics_[r] * kPreferred + rank];
          }
          if ((seen[e / 64] >> (e % 64) & 1) != 0) continue;
          seen[e / 64] |= std::uint64_t{1} << (e % 64);
          demand.experts.push_back(ExpertId(e));
          ++chosen;
        }
      }
    }
    making_nanoseconds_ += cpu_nanoseconds(CLOCK_THREAD_CPUTIME_ID) - start;
    return demand;
  }
  /// Processor time that making took so far.
  double making() const { return static_cast<double>(making_nanoseconds_) / 1e9; }

 private:
  ModelShape shape_;
  std::vector<double> loads_;
  std::vector<traffic::Segment> segments_;
  std::vector<std::uint32_t> topics_;
  mutable std::atomic<std::int64_t> making_nanoseconds_{0};
};

struct Options {
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
  const std::size_t sampled = options.layers / 2;
  const auto layer = demand.layer(sampled);
  const auto t = traffic::score_layer(layer->view(LayerId(sampled), kTopK), kTopology, kExperts,
                                      plan->placement.layer(sampled), {});
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print(
      "{:9} {} tokens x {} layers, {} threads: {:.1f} s wall; processor {:.1f} s to plan and {:.1f} s to "
      "make "
      "tokens; {:.3f} node copies a token in layer {}; peak {} MiB\n",
      name, tokens, options.layers, options.threads, seconds, planning, making,
      static_cast<double>(t.dedup.node) / static_cast<double>(t.tokens), sampled, usage.ru_maxrss / 1024);
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
    const auto* const found =
        std::ranges::find(known, key, &std::pair<std::string_view, std::size_t*>::first);
    if (found == std::end(known) || key.size() == argument.size()) {
      return fmt::print(stderr, "{}: expected tokens=, layers=, slots=, threads=, limit= or growth=.\n",
                        argument),
             2;
    }
    *found->second = std::strtoul(argv[i] + key.size() + 1, nullptr, 10);
  }
  ThreadPool pool(options.threads);
  const MadeDemand demand(options.tokens, options.layers);
  if (options.growth <= 1) {
    for (const char* name : {"patterns", "moesaic"}) {
      if (time_plan(name, demand, options.tokens, options, pool) < 0) return 2;
    }
    return 0;
  }
  const double few = time_plan("moesaic", demand, options.tokens, options, pool);
  const std::size_t more = options.growth * options.tokens;
  const double many = time_plan("moesaic", MadeDemand(more, options.layers), more, options, pool);
  if (few < 0 || many < 0) return 2;
  fmt::print("{} x the tokens take {:.2f} x the processor time to plan.\n", options.growth, many / few);
  return 0;
}

}  // namespace
}  // namespace moesaic

int main(int argc, char** argv) { return moesaic::run(argc, argv); }
