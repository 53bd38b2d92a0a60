#include "gateway/learning.hpp"

#include <fmt/format.h>

#include <chrono>
#include <iterator>
#include <random>
#include <utility>

#include "gateway/known_experts.hpp"
#include "protocol/prompt_text.hpp"

namespace moesaic::gateway {
namespace {

/// Of answers that wait for the helper; more are dropped.
constexpr std::size_t kMaxPendingBytes = 64u << 20;

std::int64_t wall_clock_ns() {
  return std::chrono::duration_cast<Nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Json score_json(const RefitScore& score) {
  Json json;
  json["before"] = score.before;
  json["after"] = score.after;
  json["used"] = score.better();
  return json;
}

}  // namespace

/// What the helper found in an answer.
struct Learning::Read {
  std::size_t bytes = 0;
  bool known = false;
  Lesson lesson{};
  Recorded recorded{};
  Status stored{};
};

Learning::Learning(State& state, io::FileSystem& files, Helper& helper, ModelShape shape)
    : state_(state), helper_(helper), shape_(std::move(shape)) {
  const Config& config = state.config;
  if (!config.record.folder.empty()) {
    recorder_ = std::make_unique<StoreRecorder>(files, config.record, shape_);
    counts_ = std::make_unique<CountRecorder>(files, config.record, shape_);
  }
  if (config.refit) lessons_.emplace(*config.refit);
  last_rotate_ = state.loop.now();
}

Result<std::unique_ptr<Learning>> Learning::start(State& state, io::FileSystem& files, Helper& helper,
                                                  ModelShape shape,
                                                  std::optional<signature::Predictor> predictor,
                                                  std::optional<signature::PromptModel> prompt_model) {
  std::unique_ptr<Learning> learning(new Learning(state, files, helper, std::move(shape)));
  if (learning->recorder_) MOESAIC_TRY(learning->recorder_->prepare());
  if (const ShadowOptions& shadow = state.config.shadow; !shadow.host.empty()) {
    MOESAIC_ASSIGN(std::optional<net::TlsPeer> tls, tls_peer(shadow.tls, shadow.host));
    learning->shadow_ =
        std::make_unique<Shadow>(state.loop, shadow, std::move(tls), std::random_device{}(),
                                 [self = learning.get()](Shadow::Origin origin, std::string answer) {
                                   self->take(std::move(origin), std::move(answer), std::nullopt);
                                 });
  }
  if (!predictor) predictor = signature::uniform_predictor(learning->shape_);
  learning->predictor_ = std::make_shared<const signature::Predictor>(std::move(*predictor));
  if (prompt_model) {
    learning->text_bytes_ = prompt_model->features.max_bytes;
    learning->prompt_model_ = std::make_shared<const signature::PromptModel>(std::move(*prompt_model));
  }
  return learning;
}

Shadow::Origin Learning::origin_of(const protocol::RequestBody& body, const std::string& id) const {
  return {.id = id,
          .prompt = std::string(body.prompt.substr(0, state_.cache.reach())),
          .words = lessons_ ? protocol::prompt_text(body.prompt, text_bytes_) : std::string()};
}

void Learning::request(const protocol::RequestBody& body, const std::string& id) {
  if (shadow_ && shadow_->chooses_next()) shadow_->copy(body, origin_of(body, id));
}

void Learning::answer(const protocol::RequestBody& body, const std::string& id, std::string_view answer,
                      std::optional<Decoder> decoder) {
  if (!recorder_ && !lessons_) return;
  if (body.choices != 1 || answer.find("_experts\"") == std::string_view::npos) return;
  take(origin_of(body, id), std::string(answer), decoder);
}

void Learning::take(Shadow::Origin origin, std::string answer, std::optional<Decoder> decoder) {
  if (pending_bytes_ + answer.size() > kMaxPendingBytes) {
    ++dropped_;
    return;
  }
  pending_bytes_ += answer.size();
  struct Work {
    Shadow::Origin origin;
    std::string answer;
    std::int64_t arrival_ns;
  };
  const auto work = std::make_shared<const Work>(Work{std::move(origin), std::move(answer), wall_clock_ns()});
  helper_.add([this, work, decoder] {
    auto read = std::make_shared<Read>();
    read->bytes = work->answer.size();
    if (const auto known = experts_of_reply(work->answer, shape_)) {
      read->known = true;
      if (recorder_) read->stored = recorder_->add(work->origin.id, work->arrival_ns, *known);
      if (auto usage = prefill_usage(*known, shape_)) {
        read->lesson.prefill = std::make_shared<const Usage>(std::move(*usage));
      }
      if (auto usage = decode_usage(*known, shape_)) {
        read->lesson.decode = std::make_shared<const Usage>(std::move(*usage));
      }
    }
    if (recorder_) read->recorded = recorded_now();
    state_.loop.post([this, work, decoder, read] { taken(work->origin, decoder, *read); });
  });
}

void Learning::taken(const Shadow::Origin& origin, std::optional<Decoder> decoder, const Read& read) {
  pending_bytes_ -= read.bytes;
  ++(read.known ? known_ : unknown_);
  if (recorder_) recorded_ = read.recorded;
  if (!read.stored) note_error(read.stored.error());
  if (read.lesson.prefill) state_.cache.insert(origin.prompt, read.lesson.prefill);
  if (decoder && read.lesson.decode) {
    const Usage& decode = *read.lesson.decode;
    std::vector<float> shares = decode.counts;
    for (float& share : shares) share /= static_cast<float>(std::max(1u, decode.tokens));
    if (state_.placer->observed(decoder->worker, decoder->rank, shares, state_.loop.now())) ++observed_;
  }
  if (!lessons_ || !read.lesson.prefill || !read.lesson.decode) return;
  lessons_->add({read.lesson.prefill, read.lesson.decode, origin.words});
}

void Learning::counted(const std::string& id, std::shared_ptr<const Usage> prefill) {
  if (!counts_ || prefill->counts.size() != shape_.layers.size() * shape_.experts) return;
  const std::size_t bytes = prefill->counts.size() * sizeof(float);
  if (pending_bytes_ + bytes > kMaxPendingBytes) {
    ++dropped_;
    return;
  }
  pending_bytes_ += bytes;
  helper_.add([this, id, prefill = std::move(prefill), bytes, arrival_ns = wall_clock_ns()] {
    const Status stored = counts_->add(id, arrival_ns, *prefill);
    const Recorded recorded = recorded_now();
    state_.loop.post([this, stored, recorded, bytes] {
      pending_bytes_ -= bytes;
      ++counted_;
      recorded_ = recorded;
      if (!stored) note_error(stored.error());
    });
  });
}

Learning::Recorded Learning::recorded_now() const {
  return {recorder_->requests() + counts_->requests(), recorder_->lost() + counts_->lost(),
          recorder_->stores() + counts_->stores()};
}

Status Learning::close_stores() {
  const Status tokens = recorder_->close();
  const Status counts = counts_->close();
  return tokens ? counts : tokens;
}

void Learning::note_error(const Error& error) {
  ++record_errors_;
  record_error_ = error.message;
  Json line;
  line["fault"] = error.message;
  state_.log.write("error", "recording", std::move(line));
}

void Learning::tick(Nanoseconds now) {
  if (recorder_ && now - last_rotate_ >= state_.config.record.rotate) {
    last_rotate_ = now;
    helper_.add([this] {
      const Status closed = close_stores();
      const Recorded recorded = recorded_now();
      state_.loop.post([this, closed, recorded] {
        recorded_ = recorded;
        if (!closed) note_error(closed.error());
      });
    });
  }
  if (lessons_ && lessons_->due(now)) begin_refit(now);
}

void Learning::begin_refit(Nanoseconds now) {
  const std::size_t places = std::max<std::size_t>(2, state_.placer->places());
  const auto work = std::make_shared<const RefitWork>(RefitWork{.shape = shape_,
                                                                .lessons = lessons_->take(now),
                                                                .predictor = predictor_,
                                                                .prompt_model = prompt_model_,
                                                                .groups = places});
  helper_.add([this, work] {
    ThreadPool pool(1);
    const auto outcome = std::make_shared<const RefitOutcome>(refit_from(*work, pool));
    state_.loop.post([this, outcome] { refitted(*outcome, state_.loop.now()); });
  });
}

void Learning::refitted(const RefitOutcome& outcome, Nanoseconds now) {
  lessons_->refitted();
  ++refits_;
  last_refit_ = LastRefit{.at = now,
                          .learnt = outcome.learnt,
                          .scored = outcome.scored,
                          .predictor = outcome.predictor_score,
                          .prompts = outcome.prompt_score,
                          .has_prompts = outcome.prompt_model.has_value()};
  if (outcome.predictor_score.better()) {
    ++predictors_used_;
    predictor_ = std::make_shared<const signature::Predictor>(outcome.predictor);
    state_.placer->learnt(predictor_, now);
  }
  if (outcome.prompt_model && outcome.prompt_score.better()) {
    ++prompt_models_used_;
    prompt_model_ = std::make_shared<const signature::PromptModel>(*outcome.prompt_model);
    state_.prompts.emplace(*prompt_model_);
  }
  offer_lessons(now);
  Json line;
  line["learnt"] = outcome.learnt;
  line["predictor"] = score_json(outcome.predictor_score);
  if (outcome.prompt_model) line["prompt_model"] = score_json(outcome.prompt_score);
  state_.log.write("info", "refit", std::move(line));
}

void Learning::offer_lessons(Nanoseconds now) {
  std::vector<std::span<const float>> counts;
  for (const Lesson& lesson : lessons_->newest()) counts.emplace_back(lesson.prefill->counts);
  std::optional<routing::RefitJob> job = state_.placer->recorded(counts, now);
  if (!job) return;
  ++centroids_asked_;
  run_beside(state_, helper_, std::move(*job));
}

void Learning::stop() {
  shadow_.reset();
  if (!recorder_) return;
  if (const Status closed = close_stores(); !closed) note_error(closed.error());
  recorded_ = recorded_now();
}

Json Learning::report(Nanoseconds now) const {
  Json json;
  json["answers"]["known"] = known_;
  json["answers"]["unknown"] = unknown_;
  json["answers"]["counted"] = counted_;
  json["answers"]["observed"] = observed_;
  json["answers"]["dropped"] = dropped_;
  if (shadow_) {
    const ShadowCounts& counts = shadow_->counts();
    Json& shadow = json["shadow"];
    shadow["copied"] = counts.copied;
    shadow["dropped"] = counts.dropped;
    shadow["answered"] = counts.answered;
    shadow["failed"] = counts.failed;
    shadow["waiting"] = shadow_->waiting();
    shadow["in_flight"] = shadow_->in_flight();
  }
  if (recorder_) {
    Json& record = json["record"];
    record["requests"] = recorded_.requests;
    record["lost"] = recorded_.lost;
    record["stores"] = recorded_.stores;
    record["errors"] = record_errors_;
    if (!record_error_.empty()) record["last_error"] = record_error_;
  }
  if (lessons_) {
    Json& refit = json["refit"];
    refit["lessons"] = lessons_->size();
    refit["refits"] = refits_;
    refit["predictors_used"] = predictors_used_;
    refit["prompt_models_used"] = prompt_models_used_;
    refit["centroids"] = centroids_asked_;
    if (last_refit_) {
      Json& last = refit["last"];
      last["seconds_ago"] = static_cast<double>((now - last_refit_->at).count()) * 1e-9;
      last["learnt"] = last_refit_->learnt;
      last["scored"] = last_refit_->scored;
      last["predictor"] = score_json(last_refit_->predictor);
      if (last_refit_->has_prompts) last["prompt_model"] = score_json(last_refit_->prompts);
    }
  }
  return json;
}

void Learning::append_metrics(std::string& out) const {
  auto to = std::back_inserter(out);
  const auto counter = [&](std::string_view name, std::uint64_t value) {
    fmt::format_to(to, "# TYPE {0} counter\n{0} {1}\n", name, value);
  };
  counter("moesaic_known_experts_total", known_);
  counter("moesaic_answers_dropped_total", dropped_);
  counter("moesaic_decodes_observed_total", observed_);
  if (shadow_) {
    counter("moesaic_shadow_copied_total", shadow_->counts().copied);
    counter("moesaic_shadow_dropped_total", shadow_->counts().dropped);
    counter("moesaic_shadow_answered_total", shadow_->counts().answered);
    counter("moesaic_shadow_failed_total", shadow_->counts().failed);
  }
  if (recorder_) {
    counter("moesaic_recorded_requests_total", recorded_.requests);
    counter("moesaic_recorded_lost_total", recorded_.lost);
    counter("moesaic_record_errors_total", record_errors_);
  }
  if (lessons_) {
    counter("moesaic_learning_refits_total", refits_);
    counter("moesaic_learning_predictors_used_total", predictors_used_);
  }
}

void run_beside(State& state, Helper& helper, routing::RefitJob job) {
  const std::uint64_t generation = state.placer->generation();
  const auto shared = std::make_shared<const routing::RefitJob>(std::move(job));
  helper.add([&state, shared, generation] {
    ThreadPool pool(1);
    auto result = std::make_shared<routing::RefitResult>(routing::run_refit(*shared, pool));
    state.loop.post([&state, result, generation] {
      state.placer->refitted(std::move(*result), generation, state.loop.now());
    });
  });
}

}  // namespace moesaic::gateway
