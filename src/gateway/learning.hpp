// What becomes of requests whose experts are known — a shadow's, or those whose own answers carry them: the
// prefix cache, the trace store (store_recorder.hpp), and refits (lessons.hpp). Big answers are decoded,
// stores written and refits run on the helper thread; results come back as events of the loop. Nothing here
// is on a client's path, and nothing here can fail a request. Belongs to the loop.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/json.hpp"
#include "gateway/count_recorder.hpp"
#include "gateway/helper.hpp"
#include "gateway/lessons.hpp"
#include "gateway/shadow.hpp"
#include "gateway/state.hpp"
#include "gateway/store_recorder.hpp"

namespace moesaic::gateway {

/// Who decoded a request.
struct Decoder {
  WorkerKey worker{};
  std::uint32_t rank = 0;
};

class Learning {
 public:
  /// `state`, `files` and `helper` outlive this. `shape` is that of the experts which engines return. Errors:
  /// the record folder, the shadow's authorities.
  static Result<std::unique_ptr<Learning>> start(State& state, io::FileSystem& files, Helper& helper,
                                                 ModelShape shape,
                                                 std::optional<signature::Predictor> predictor,
                                                 std::optional<signature::PromptModel> prompt_model);

  /// A request came: perhaps the shadow gets a copy.
  void request(const protocol::RequestBody& body, const std::string& id);
  /// An answer that is not a stream reached its client, or a prefiller answered (then nobody decoded). Cheap
  /// without experts in it. What was decoded is told to the policy.
  void answer(const protocol::RequestBody& body, const std::string& id, std::string_view answer,
              std::optional<Decoder> decoder);
  /// Of a prefill only counts are known, of every MoE layer: recorded, not learnt from.
  void counted(const std::string& id, std::shared_ptr<const Usage> prefill);
  void tick(Nanoseconds now);
  /// Closes the open store. REQUIRES: the helper has stopped.
  void stop();
  /// For /admin/routing.
  Json report(Nanoseconds now) const;
  /// Prometheus text.
  void append_metrics(std::string& out) const;

 private:
  Learning(State& state, io::FileSystem& files, Helper& helper, ModelShape shape);
  struct Read;
  void take(Shadow::Origin origin, std::string answer, std::optional<Decoder> decoder);
  void taken(const Shadow::Origin& origin, std::optional<Decoder> decoder, const Read& read);
  Shadow::Origin origin_of(const protocol::RequestBody& body, const std::string& id) const;
  void begin_refit(Nanoseconds now);
  void refitted(const RefitOutcome& outcome, Nanoseconds now);
  /// The policy may want centroids of these requests.
  void offer_lessons(Nanoseconds now);
  void note_error(const Error& error);

  State& state_;
  Helper& helper_;
  const ModelShape shape_;
  std::unique_ptr<StoreRecorder> recorder_;  ///< the helper's
  std::unique_ptr<CountRecorder> counts_;    ///< the helper's; there when recorder_ is
  std::unique_ptr<Shadow> shadow_;
  std::optional<Lessons> lessons_;
  std::shared_ptr<const signature::Predictor> predictor_;
  std::shared_ptr<const signature::PromptModel> prompt_model_;
  std::uint32_t text_bytes_ = 4096;  ///< of a prompt, kept with its lesson

  std::size_t pending_bytes_ = 0;  ///< of answers that the helper has
  std::uint64_t known_ = 0, dropped_ = 0, unknown_ = 0, counted_ = 0, observed_ = 0;
  struct Recorded {
    std::uint64_t requests = 0, lost = 0, stores = 0;
  } recorded_{};
  /// Of both kinds of stores. For the helper.
  Recorded recorded_now() const;
  Status close_stores();
  std::uint64_t record_errors_ = 0;
  std::string record_error_{};
  Nanoseconds last_rotate_{0};
  struct LastRefit {
    Nanoseconds at{0};
    std::size_t learnt = 0, scored = 0;
    RefitScore predictor{}, prompts{};
    bool has_prompts = false;
  };
  std::optional<LastRefit> last_refit_{};
  std::uint64_t refits_ = 0, predictors_used_ = 0, prompt_models_used_ = 0, centroids_asked_ = 0;
};

/// Runs a policy's refit on the helper; the result comes back to the policy as an event of the loop.
void run_beside(State& state, Helper& helper, routing::RefitJob job);

}  // namespace moesaic::gateway
