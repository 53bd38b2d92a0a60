// How long does a decode decision take? 16 decoders x 48 layers x 128 experts, 12 requests running on each,
// prefills of 400 tokens x 8 experts, on one core. `jsq` and `eldr` are the peers of the same run. Before
// anything is timed, the scan's vector form is checked against its scalar twin.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <numeric>

#include "core/random.hpp"
#include "routing/decode_policies.hpp"
#include "routing/usage_sum.hpp"
#include "signature/dot.hpp"
#include "signature/prediction.hpp"

namespace moesaic {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kLayers = 48, kExperts = 128, kTopK = 8, kCells = kLayers * kExperts;
constexpr std::uint32_t kDecoders = 16, kRunning = 12, kTokens = 400, kRequests = 256;

ModelShape shape() {
  ModelShape out{"bench", kLayers, {}, kExperts, kTopK};
  for (std::size_t layer = 0; layer < kLayers; ++layer) out.layers.push_back(static_cast<LayerId>(layer));
  return out;
}

/// Requests of 16 kinds that prefer an eighth of the experts, three choices in four.
const std::vector<float>& counts() {
  static const auto made = [] {
    std::vector<float> out(kRequests * kCells);
    Pcg32 random(7);
    for (std::size_t r = 0; r < kRequests; ++r) {
      for (std::size_t layer = 0; layer < kLayers; ++layer) {
        for (std::size_t choice = 0; choice < kTokens * kTopK; ++choice) {
          const std::size_t preferred = (r % 16 * 8 + layer * 5 + random.below(16)) % kExperts;
          const std::size_t expert = random.below(4) > 0 ? preferred : random.below(kExperts);
          out[r * kCells + layer * kExperts + expert] += 1;
        }
      }
    }
    return out;
  }();
  return made;
}

std::span<const float> counts_of(std::size_t request) {
  return std::span(counts()).subspan(request % kRequests * kCells, kCells);
}

const signature::Predictor& predictor() {
  static const auto fitted = [] {
    const std::vector<std::uint32_t> tokens(kRequests, kTokens);
    const signature::CountsView view{kLayers, kExperts, counts()};
    ThreadPool pool;
    return signature::fit_predictor({view, view, tokens, tokens}, {}, pool);
  }();
  return fitted;
}

std::unique_ptr<routing::DecodePolicy> started(const char* name) {
  routing::DecodePolicyConfig config;
  config.eldr.space = signature::all_layers(shape(), signature::Transform::kCount);
  config.eldr.layer_rows = kLayers;
  for (std::uint32_t d = 0; d < kDecoders; ++d) {
    std::vector<float> centroid(kCells);
    signature::signature(config.eldr.space, counts_of(d), centroid);
    config.eldr.centroids.insert(config.eldr.centroids.end(), centroid.begin(), centroid.end());
  }
  config.marginal.predictor = predictor();
  config.marginal.step.per_expert = cost::Picoseconds(2'800'000);
  auto policy = routing::make_decode_policy(name, config);
  if (!policy) std::abort();
  for (std::uint32_t d = 0; d < kDecoders; ++d) (*policy)->worker_up({.id = routing::WorkerId{d}}, 0ns);
  return std::move(*policy);
}

/// One admit and one finished, as in a steady state; `finished` is timed apart below.
void decision(benchmark::State& state, const char* name) {
  const auto policy = started(name);
  std::uint64_t id = 0;
  const auto admit = [&] {
    return policy->admit({.id = routing::RequestId{id},
                          .prompt_tokens = kTokens,
                          .counts = counts_of(id),
                          .counted_tokens = kTokens},
                         0ns);
  };
  for (; id < kDecoders * kRunning; ++id) admit();
  for (auto _ : state) {
    benchmark::DoNotOptimize(admit());
    state.PauseTiming();
    policy->finished(routing::RequestId{id - kDecoders * kRunning}, 0ns);
    ++id;
    state.ResumeTiming();
  }
}

void finish(benchmark::State& state) {
  const auto policy = started("marginal");
  std::uint64_t id = 0;
  for (auto _ : state) {
    state.PauseTiming();
    policy->admit({.id = routing::RequestId{++id}, .counts = counts_of(id), .counted_tokens = kTokens}, 0ns);
    state.ResumeTiming();
    policy->finished(routing::RequestId{id}, 0ns);
  }
}

void predict(benchmark::State& state) {
  const signature::Predictor& fitted = predictor();
  signature::PredictionScratch scratch(fitted);
  std::vector<float> out(kCells);
  std::size_t request = 0;
  for (auto _ : state) {
    signature::predict(fitted, counts_of(request++), kTokens, out, scratch);
    benchmark::DoNotOptimize(out.data());
  }
}

/// The scan of all decoders alone.
void scan(benchmark::State& state) {
  std::vector<std::uint32_t> order(kCells);
  std::iota(order.begin(), order.end(), 0u);
  std::vector<routing::UsageSum> decoders;
  std::vector<routing::Survival> survival(kCells);
  std::vector<float> p(kCells);
  signature::PredictionScratch scratch(predictor());
  std::size_t request = 0;
  for (std::uint32_t d = 0; d < kDecoders; ++d) {
    decoders.emplace_back(order);
    for (std::uint32_t r = 0; r < kRunning; ++r) {
      signature::predict(predictor(), counts_of(request++), kTokens, p, scratch);
      routing::to_survival(p, survival);
      decoders.back().add(survival);
    }
    if (signature::dot(decoders[d].idle(), p) != signature::dot_scalar(decoders[d].idle(), p)) std::abort();
  }
  for (auto _ : state) {
    float sum = 0;
    for (const routing::UsageSum& decoder : decoders) sum += signature::dot(decoder.idle(), p);
    benchmark::DoNotOptimize(sum);
  }
}

BENCHMARK_CAPTURE(decision, jsq, "jsq")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(decision, eldr_static, "eldr-static")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(decision, marginal, "marginal")->Unit(benchmark::kMicrosecond);
BENCHMARK(predict)->Unit(benchmark::kMicrosecond);
BENCHMARK(scan)->Unit(benchmark::kMicrosecond);
BENCHMARK(finish)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace moesaic

BENCHMARK_MAIN();
