#include "signature/prompt_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/check.hpp"
#include "core/random.hpp"
#include "signature/dot.hpp"
#include "signature/low_rank.hpp"

namespace moesaic::signature {
namespace {

constexpr std::size_t kPromptFolds = 4;
/// Of the ridge, in units of the mean squared length of a centred row.
constexpr std::array<double, 5> kPromptRidges = {0.01, 0.1, 1, 10, 100};

bool within(std::span<const float> values, float low, float high) {
  return std::ranges::all_of(values, [&](float value) { return value >= low && value <= high; });
}

/// [n, n] inner products of rows [n, width].
std::vector<double> gram(const std::vector<float>& rows, std::size_t n, std::size_t width, ThreadPool& pool) {
  std::vector<double> out(n * n);
  const auto row = [&](std::size_t i) { return std::span(rows).subspan(i * width, width); };
  pool.parallel_for(n, [&](std::size_t i) {
    for (std::size_t j = 0; j <= i; ++j) out[i * n + j] = static_cast<double>(dot(row(i), row(j)));
  });
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i + 1; j < n; ++j) out[i * n + j] = out[j * n + i];
  }
  return out;
}

/// Squared error of each fold's targets under a fit to the other folds.
double cross_error(const std::vector<double>& gram, std::size_t n, std::span<const double> targets,
                   std::size_t groups, double ridge, ThreadPool& pool) {
  std::array<double, kPromptFolds> errors{};
  pool.parallel_for(kPromptFolds, [&](std::size_t fold) {
    std::vector<std::size_t> others;
    for (std::size_t i = 0; i < n; ++i) {
      if (i % kPromptFolds != fold) others.push_back(i);
    }
    std::vector<double> part(others.size() * others.size());
    for (std::size_t a = 0; a < others.size(); ++a) {
      for (std::size_t b = 0; b < others.size(); ++b)
        part[a * others.size() + b] = gram[others[a] * n + others[b]];
    }
    const std::vector<double> factor = cholesky(part, others.size(), ridge);
    for (std::size_t g = 0; g < groups; ++g) {
      std::vector<double> dual;
      for (const std::size_t i : others) dual.push_back(targets[i * groups + g]);
      solve_with(factor, others.size(), dual);
      for (std::size_t i = fold; i < n; i += kPromptFolds) {
        double predicted = 0;
        for (std::size_t a = 0; a < others.size(); ++a) predicted += gram[i * n + others[a]] * dual[a];
        const double miss = targets[i * groups + g] - predicted;
        errors[fold] += miss * miss;
      }
    }
  });
  double sum = 0;
  for (const double error : errors) sum += error;
  return sum;
}

}  // namespace

void prompt_features(const PromptFeatures& how, std::string_view text, std::span<float> out) {
  MOESAIC_CHECK(how.grams > 0 && how.grams <= kMaxPromptGrams && how.buckets > 0);
  MOESAIC_CHECK(out.size() == how.buckets);
  std::ranges::fill(out, 0.0f);
  text = text.substr(0, how.max_bytes);
  // A gram is hashed as its bytes in a word, with its length, so equal grams meet wherever they stand.
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    word = word << 8 | static_cast<unsigned char>(text[i]);
    for (std::uint32_t n = 1; n <= how.grams && n <= i + 1; ++n) {
      const std::uint64_t bytes = n == 8 ? word : word & ((std::uint64_t{1} << 8 * n) - 1);
      out[counter_hash({n, bytes}) % how.buckets] += 1;
    }
  }
  double total = 0;
  for (const float count : out) total += static_cast<double>(count);
  if (total == 0) return;
  const auto length = static_cast<float>(std::sqrt(total));  // of the square roots
  for (float& value : out) value = std::sqrt(value) / length;
}

std::vector<float> PromptModel::scores(std::string_view text) const {
  std::vector<float> x(features.buckets), row(features.buckets), out;
  prompt_features(features, text, x);
  for (std::size_t g = 0; g < groups(); ++g) {
    const std::int8_t* const w = weights.data() + g * features.buckets;
    for (std::size_t b = 0; b < row.size(); ++b) row[b] = static_cast<float>(w[b]);
    out.push_back(bias[g] + scale[g] * dot(row, x));
  }
  return out;
}

std::size_t PromptModel::group(std::string_view text) const {
  const std::vector<float> all = scores(text);
  return static_cast<std::size_t>(std::ranges::max_element(all) - all.begin());
}

Status validate(const PromptModel& model) {
  const PromptFeatures& how = model.features;
  if (how.grams == 0 || how.grams > kMaxPromptGrams || how.buckets == 0 || how.buckets > kMaxPromptBuckets) {
    return bad_input(fmt::format("prompt model: {} grams in {} buckets, expected 1 to {} in 1 to {}",
                                 how.grams, how.buckets, kMaxPromptGrams, kMaxPromptBuckets));
  }
  const std::size_t groups = model.groups();
  if (groups == 0 || model.scale.size() != groups || model.weights.size() != groups * how.buckets ||
      model.usage.size() != groups * model.cells) {
    return bad_input(fmt::format(
        "prompt model: {} scales, {} weights and {} numbers of usage do not fit {} groups, {} "
        "buckets and {} cells",
        model.scale.size(), model.weights.size(), model.usage.size(), groups, how.buckets, model.cells));
  }
  constexpr float kLargest = 1e6f;
  if (!within(model.bias, -kLargest, kLargest) || !within(model.scale, 0, kLargest)) {
    return bad_input("prompt model: a bias or scale is not finite, or beyond a million");
  }
  if (!within(model.usage, 0, 1)) return bad_input("prompt model: a number of usage is outside 0 to 1");
  return {};
}

PromptModel fit_prompt_model(std::span<const std::string_view> texts, std::span<const std::uint32_t> group,
                             std::size_t groups, const PromptFitOptions& options, ThreadPool& pool) {
  MOESAIC_CHECK(!texts.empty() && group.size() == texts.size() && groups > 0);
  const std::size_t n = std::min(texts.size(), std::max<std::size_t>(1, options.max_requests));
  const std::size_t buckets = options.features.buckets;
  std::vector<float> rows(n * buckets);
  std::vector<double> targets(n * groups);
  pool.parallel_for(n, [&](std::size_t i) {
    const std::size_t from = i * texts.size() / n;
    MOESAIC_CHECK(group[from] < groups);
    prompt_features(options.features, texts[from], std::span(rows).subspan(i * buckets, buckets));
    targets[i * groups + group[from]] = 1;
  });

  // Both sides centred: the bias takes up the means.
  std::vector<float> mean_row(buckets);
  std::vector<double> mean_target(groups);
  for (std::size_t b = 0; b < buckets; ++b) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(rows[i * buckets + b]);
    mean_row[b] = static_cast<float>(sum / static_cast<double>(n));
    for (std::size_t i = 0; i < n; ++i) rows[i * buckets + b] -= mean_row[b];
  }
  for (std::size_t g = 0; g < groups; ++g) {
    for (std::size_t i = 0; i < n; ++i) mean_target[g] += targets[i * groups + g] / static_cast<double>(n);
    for (std::size_t i = 0; i < n; ++i) targets[i * groups + g] -= mean_target[g];
  }

  const std::vector<double> products = gram(rows, n, buckets, pool);
  double unit = 0;
  for (std::size_t i = 0; i < n; ++i) unit += products[i * n + i] / static_cast<double>(n);
  unit = std::max(unit, 1e-9);
  double ridge = unit, least = -1;
  for (const double candidate : kPromptRidges) {
    if (n < kPromptFolds) break;
    const double error = cross_error(products, n, targets, groups, candidate * unit, pool);
    if (least < 0 || error < least) least = error, ridge = candidate * unit;
  }

  PromptModel out{.features = options.features};
  out.bias.resize(groups);
  out.scale.resize(groups);
  out.weights.resize(groups * buckets);
  const std::vector<double> factor = cholesky(products, n, ridge);
  pool.parallel_for(groups, [&](std::size_t g) {
    std::vector<double> dual(n), weights(buckets);
    for (std::size_t i = 0; i < n; ++i) dual[i] = targets[i * groups + g];
    solve_with(factor, n, dual);
    double largest = 0, at_mean = 0;
    for (std::size_t b = 0; b < buckets; ++b) {
      for (std::size_t i = 0; i < n; ++i) weights[b] += dual[i] * static_cast<double>(rows[i * buckets + b]);
      largest = std::max(largest, std::abs(weights[b]));
    }
    const double scale = largest / 127;
    for (std::size_t b = 0; b < buckets; ++b) {
      const long level = scale > 0 ? std::lround(weights[b] / scale) : 0;
      out.weights[g * buckets + b] = static_cast<std::int8_t>(level);
      at_mean += static_cast<double>(level) * scale * static_cast<double>(mean_row[b]);
    }
    out.scale[g] = static_cast<float>(scale);
    out.bias[g] = static_cast<float>(mean_target[g] - at_mean);
  });
  return out;
}

}  // namespace moesaic::signature
