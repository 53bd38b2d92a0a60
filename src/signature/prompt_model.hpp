// From the text of a prompt to the group of requests it will decode like, for whoever must choose before the
// prefill has run. Hashed byte n-grams (feature hashing: Weinberger et al. 2009), square roots of their
// counts scaled to unit length, one linear score a group: a ridge regression of group membership (Hoerl,
// Kennard 1970), which needs no iterations and gives the same weights every time. Weights are kept in eight
// bits; no text can be read back from them beyond what n-gram statistics of a group tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/thread_pool.hpp"

namespace moesaic::signature {

inline constexpr std::size_t kMaxPromptGrams = 8;
inline constexpr std::size_t kMaxPromptBuckets = 1 << 20;

/// How text becomes numbers. Part of the model: both sides must agree.
struct PromptFeatures {
  std::uint32_t grams = 4;         ///< n-grams of 1 to so many bytes
  std::uint32_t buckets = 4096;    ///< that they are hashed into
  std::uint32_t max_bytes = 4096;  ///< of a text that are read: its beginning
  bool operator==(const PromptFeatures&) const = default;
};

/// out [buckets]: square roots of the counts, of unit length; all 0 for an empty text. Any bytes will do.
/// O(grams x min(text, max_bytes) + buckets). REQUIRES: 1 <= grams <= kMaxPromptGrams, buckets > 0.
void prompt_features(const PromptFeatures& how, std::string_view text, std::span<float> out);

struct PromptModel {
  PromptFeatures features{};
  std::vector<float> bias{};           ///< [groups]
  std::vector<float> scale{};          ///< [groups] >= 0
  std::vector<std::int8_t> weights{};  ///< [groups, buckets], times scale
  std::size_t cells = 0;               ///< layer rows x experts of `usage`
  std::vector<float> usage{};          ///< [groups, cells] mean activations a prefill token, in [0, 1]

  std::size_t groups() const { return bias.size(); }
  /// [groups], about the chance of each: a regression, neither bounded to [0, 1] nor of sum 1. O(features +
  /// groups x buckets). Thread-safe. REQUIRES: a valid model.
  std::vector<float> scores(std::string_view text) const;
  /// The group of the highest score, the lowest on ties.
  std::size_t group(std::string_view text) const;
  std::span<const float> usage_of(std::size_t group) const {
    return std::span(usage).subspan(group * cells, cells);
  }
  bool operator==(const PromptModel&) const = default;
};

/// Sizes that fit, values that are finite and in range. Errors (bad input) say which is not.
Status validate(const PromptModel& model);

struct PromptFitOptions {
  PromptFeatures features{};
  std::size_t max_requests = 1024;  ///< learnt from, evenly spaced in the data
};

/// `group` [texts]: what each turned out to be, below `groups`. The ridge is chosen from a grid by the
/// squared error of quarters of the requests under a fit to the others. `usage` stays empty: the caller's.
/// Deterministic at any thread count. With n requests learnt from: O(n^2 buckets + n^3).
/// REQUIRES: at least one text, groups > 0.
PromptModel fit_prompt_model(std::span<const std::string_view> texts, std::span<const std::uint32_t> group,
                             std::size_t groups, const PromptFitOptions& options, ThreadPool& pool);

}  // namespace moesaic::signature
