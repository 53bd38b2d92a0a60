#include "replay/experts.hpp"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/check.hpp"
#include "core/random.hpp"

namespace moesaic::replay {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
enum : std::uint64_t { kHidden = 1, kGateUp = 2, kDown = 3, kScale = 4 };

/// Number i of a stream: uniform in [-1, 1), exact in float.
float uniform(std::uint64_t stream, std::uint64_t i) {
  return static_cast<float>(static_cast<std::int64_t>(splitmix64(stream ^ i) >> 40) - (1 << 23)) * 0x1p-23f;
}

std::uint64_t stream_of(const Options& options, std::uint64_t kind, LayerId layer, std::uint64_t id) {
  return counter_hash({options.seed, kind, index(layer), id});
}

/// Uniform numbers have variance 1/3. Scales keep pre-activations and results near unit variance.
float gate_up_scale(const Options& options) { return 3.0f / std::sqrt(static_cast<float>(options.hidden)); }
float down_scale(const Options& options) {
  return 3.0f / std::sqrt(static_cast<float>(options.intermediate));
}

/// What an expert multiplies by when matrices are off: in [0.5, 1.5).
float plain_scale(const Options& options, LayerId layer, std::uint64_t expert) {
  return 1.0f + 0.5f * uniform(stream_of(options, kScale, layer, expert), 0);
}

}  // namespace

std::vector<float> hidden_state(const Options& options, LayerId layer, std::uint64_t token) {
  const std::uint64_t stream = stream_of(options, kHidden, layer, token);
  std::vector<float> x(options.hidden);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = uniform(stream, i);
  return x;
}

Experts::Experts(const Options& options, LayerId layer, std::span<const ExpertId> held)
    : options_(options), layer_(layer) {
  if (!options.compute) return;
  openblas_set_num_threads(1);
  const std::size_t h = options.hidden, inner = options.intermediate;
  for (const ExpertId expert : held) {
    const std::size_t e = index(expert);
    if (e >= at_.size()) at_.resize(e + 1, kNone);
    if (at_[e] != kNone) continue;
    at_[e] = gate_up_.size() / (2 * inner * h);
    const std::uint64_t gate_up = stream_of(options, kGateUp, layer, e);
    const std::uint64_t down = stream_of(options, kDown, layer, e);
    for (std::size_t i = 0; i < 2 * inner * h; ++i) {
      gate_up_.push_back(gate_up_scale(options) * uniform(gate_up, i));
    }
    for (std::size_t i = 0; i < h * inner; ++i) {
      down_.push_back(down_scale(options) * uniform(down, i));
    }
  }
}

void Experts::run(std::size_t expert, std::span<const float> x, std::span<float> y) const {
  const std::size_t h = options_.hidden, inner = options_.intermediate, count = x.size() / h;
  if (!options_.compute) {
    const float scale = plain_scale(options_, layer_, expert);
    std::ranges::transform(x, y.begin(), [scale](float value) { return scale * value; });
    return;
  }
  MOESAIC_CHECK(expert < at_.size() && at_[expert] != kNone);
  const float* const gate_up = gate_up_.data() + at_[expert] * 2 * inner * h;
  const float* const down = down_.data() + at_[expert] * h * inner;
  const auto n = static_cast<int>(count), hi = static_cast<int>(h), in = static_cast<int>(inner);
  std::vector<float> both(count * 2 * inner), middle(count * inner);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, 2 * in, hi, 1, x.data(), hi, gate_up, hi, 0,
              both.data(), 2 * in);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < inner; ++j) {
      const float gate = both[i * 2 * inner + j], up = both[i * 2 * inner + inner + j];
      middle[i * inner + j] = gate / (1 + std::exp(-gate)) * up;
    }
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, hi, in, 1, middle.data(), in, down, in, 0, y.data(),
              hi);
}

std::vector<double> reference_expert(const Options& options, LayerId layer, std::size_t expert,
                                     std::span<const float> x) {
  const std::size_t h = options.hidden, inner = options.intermediate;
  std::vector<double> y(h);
  if (!options.compute) {
    const double scale = plain_scale(options, layer, expert);
    for (std::size_t i = 0; i < h; ++i) y[i] = scale * x[i];
    return y;
  }
  const std::uint64_t gate_up = stream_of(options, kGateUp, layer, expert);
  const std::uint64_t down = stream_of(options, kDown, layer, expert);
  std::vector<double> middle(inner);
  for (std::size_t j = 0; j < inner; ++j) {
    double gate = 0, up = 0;
    for (std::size_t i = 0; i < h; ++i) {
      gate += double{gate_up_scale(options) * uniform(gate_up, j * h + i)} * x[i];
      up += double{gate_up_scale(options) * uniform(gate_up, (inner + j) * h + i)} * x[i];
    }
    middle[j] = gate / (1 + std::exp(-gate)) * up;
  }
  for (std::size_t i = 0; i < h; ++i) {
    for (std::size_t j = 0; j < inner; ++j) {
      y[i] += double{down_scale(options) * uniform(down, i * inner + j)} * middle[j];
    }
  }
  return y;
}

}  // namespace moesaic::replay
