#include "gateway/lessons.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include "core/check.hpp"
#include "signature/space_fit.hpp"
#include "signature/transform.hpp"

namespace moesaic::gateway {
namespace {

/// Lessons as the fits want them.
struct Rows {
  std::vector<float> prefill{}, decode{};
  std::vector<std::uint32_t> prefill_tokens{}, decode_tokens{};

  explicit Rows(std::span<const Lesson> lessons) {
    for (const Lesson& lesson : lessons) {
      prefill.insert(prefill.end(), lesson.prefill->counts.begin(), lesson.prefill->counts.end());
      decode.insert(decode.end(), lesson.decode->counts.begin(), lesson.decode->counts.end());
      prefill_tokens.push_back(lesson.prefill->tokens);
      decode_tokens.push_back(lesson.decode->tokens);
    }
  }
  signature::PredictionData data(const ModelShape& shape) const {
    const std::size_t layers = shape.layers.size();
    return {.prefill = {layers, shape.experts, prefill},
            .decode = {layers, shape.experts, decode},
            .prefill_tokens = prefill_tokens,
            .decode_tokens = decode_tokens};
  }
};

double cosine(std::span<const float> a, std::span<const float> b) {
  double both = 0, of_a = 0, of_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    both += x * y;
    of_a += x * x;
    of_b += y * y;
  }
  return of_a > 0 && of_b > 0 ? both / std::sqrt(of_a * of_b) : 0;
}

double score_prompts(const signature::PromptModel* model, std::span<const Lesson> lessons) {
  double sum = 0, count = 0;
  for (const Lesson& lesson : lessons) {
    if (lesson.text.empty()) continue;
    ++count;
    if (model != nullptr) sum += cosine(model->usage_of(model->group(lesson.text)), lesson.decode->counts);
  }
  return count > 0 ? sum / count : 0;
}

/// Groups are clusters of decodes; a group's usage is the mean of its prefills.
std::optional<signature::PromptModel> fit_prompts(std::span<const Lesson> lessons, const RefitWork& work,
                                                  ThreadPool& pool) {
  std::vector<Lesson> with_text;
  for (const Lesson& lesson : lessons) {
    if (!lesson.text.empty()) with_text.push_back(lesson);
  }
  const std::size_t groups = std::min(work.groups, with_text.size() / 8);
  if (groups < 2) return std::nullopt;
  const Rows rows(with_text);
  const signature::Space space = signature::all_layers(work.shape, signature::Transform::kCount);
  const auto clusters =
      signature::cluster_signatures(space, rows.data(work.shape).decode, {.clusters = groups}, pool);
  if (!clusters) return std::nullopt;
  std::vector<std::string_view> texts;
  for (const Lesson& lesson : with_text) texts.push_back(lesson.text);
  signature::PromptModel model =
      signature::fit_prompt_model(texts, clusters->cluster_of_item, groups, {}, pool);
  model.cells = work.shape.layers.size() * work.shape.experts;
  std::vector<double> sums(groups * model.cells), tokens(groups);
  for (std::size_t i = 0; i < with_text.size(); ++i) {
    const std::size_t group = clusters->cluster_of_item[i];
    tokens[group] += with_text[i].prefill->tokens;
    for (std::size_t cell = 0; cell < model.cells; ++cell) {
      sums[group * model.cells + cell] += static_cast<double>(with_text[i].prefill->counts[cell]);
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i) {
    model.usage.push_back(
        static_cast<float>(std::clamp(sums[i] / std::max(1.0, tokens[i / model.cells]), 0.0, 1.0)));
  }
  return model;
}

}  // namespace

RefitOutcome refit_from(const RefitWork& work, ThreadPool& pool) {
  const std::size_t all = work.lessons.size(), scored = all / 5;
  MOESAIC_CHECK(all >= 10 && work.predictor != nullptr);
  const auto older = std::span(work.lessons).first(all - scored);
  const auto newest = std::span(work.lessons).last(scored);
  const Rows learn(older), test(newest);
  RefitOutcome out{.learnt = older.size(), .scored = newest.size()};
  out.predictor = signature::fit_predictor(learn.data(work.shape), {}, pool);
  const auto loss = [&](const signature::Predictor& predictor) {
    return signature::score_predictor(predictor, test.data(work.shape)).log_loss;
  };
  out.predictor_score = {.before = -loss(*work.predictor), .after = -loss(out.predictor)};
  out.prompt_model = fit_prompts(older, work, pool);
  out.prompt_score.before = score_prompts(work.prompt_model.get(), newest);
  out.prompt_score.after = score_prompts(out.prompt_model ? &*out.prompt_model : nullptr, newest);
  return out;
}

void Lessons::add(Lesson lesson) {
  MOESAIC_CHECK(lesson.prefill != nullptr && lesson.decode != nullptr);
  lessons_.push_back(std::move(lesson));
  if (lessons_.size() > options_.max_requests) lessons_.pop_front();
  ++fresh_;
}

bool Lessons::due(Nanoseconds now) const {
  return !out_ && fresh_ >= options_.min_requests && now - last_ >= options_.every;
}

std::vector<Lesson> Lessons::take(Nanoseconds now) {
  out_ = true;
  fresh_ = 0;
  last_ = now;
  return {lessons_.begin(), lessons_.end()};
}

}  // namespace moesaic::gateway
