// What is learnt while serving: the usage of the newest requests whose prefill and decode are both known, and
// refits of what foretells the one from the other. A refit is a value: the helper thread runs it, and its
// result is an event. It counts only when it foretells requests it has not seen better than what is in use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/model_shape.hpp"
#include "core/thread_pool.hpp"
#include "gateway/signature_cache.hpp"
#include "signature/prediction.hpp"
#include "signature/prompt_model.hpp"

namespace moesaic::gateway {

struct RefitOptions {
  Nanoseconds every = std::chrono::minutes(10);
  std::size_t min_requests = 64;   ///< new ones since the last refit
  std::size_t max_requests = 512;  ///< learnt from: the newest. 8 bytes x L x E each

  bool operator==(const RefitOptions&) const = default;
};

/// One request: its usage, and the beginning of its text (kept in memory alone; may be empty).
struct Lesson {
  std::shared_ptr<const Usage> prefill{}, decode{};
  std::string text{};
};

/// What to fit, and what it must be better than.
struct RefitWork {
  ModelShape shape{};
  std::vector<Lesson> lessons{};  ///< the oldest first
  std::shared_ptr<const signature::Predictor> predictor{};
  std::shared_ptr<const signature::PromptModel> prompt_model{};  ///< nullptr: there is none
  std::size_t groups = 1;                                        ///< of a new prompt model
};

/// Of the newest fifth, which is not learnt from.
struct RefitScore {
  double before = 0, after = 0;
  bool better() const { return after > before; }
};

struct RefitOutcome {
  std::size_t learnt = 0, scored = 0;
  signature::Predictor predictor{};                      ///< of the older four fifths
  RefitScore predictor_score{};                          ///< minus the log loss, nats a (token, expert) cell
  std::optional<signature::PromptModel> prompt_model{};  ///< nothing: too few texts
  RefitScore prompt_score{};  ///< cosine of the group's usage to the decode; before: 0 without a model
};

/// Pure. Deterministic at any thread count. Cost: fit_predictor(), fit_prompt_model() and a K-means.
/// REQUIRES: at least 10 lessons of the shape's size, a predictor of it.
RefitOutcome refit_from(const RefitWork& work, ThreadPool& pool);

/// The newest lessons, and when the next refit is due. One owner.
class Lessons {
 public:
  explicit Lessons(RefitOptions options) : options_(options) {}

  void add(Lesson lesson);
  /// Enough is new, the time has come and no refit is out. Then the caller runs one and calls refitted().
  bool due(Nanoseconds now) const;
  std::vector<Lesson> take(Nanoseconds now);
  void refitted() { out_ = false; }
  std::size_t size() const { return lessons_.size(); }
  const std::deque<Lesson>& newest() const { return lessons_; }  ///< the oldest of them first

 private:
  RefitOptions options_;
  std::deque<Lesson> lessons_;
  std::size_t fresh_ = 0;
  Nanoseconds last_{0};
  bool out_ = false;
};

}  // namespace moesaic::gateway
