#include "gateway/shadow.hpp"

#include <utility>

#include "core/random.hpp"
#include "protocol/handoff.hpp"

namespace moesaic::gateway {

using net::Task;

/// Lives until the last task that serves it has ended.
struct Shadow::Shared {
  struct Copy {
    std::string path, body;
    Origin origin;
  };
  Shared(net::Loop& the_loop, const ShadowOptions& the_options, std::optional<net::TlsPeer> tls,
         std::uint64_t the_seed, std::function<void(Origin, std::string)> the_reply)
      : loop(the_loop),
        options(the_options),
        seed(the_seed),
        on_reply(std::move(the_reply)),
        pool(loop, options.host, options.port, net::ClientOptions{.max_idle = options.max_in_flight},
             std::move(tls)) {}

  net::Loop& loop;
  const ShadowOptions options;
  const std::uint64_t seed;
  std::function<void(Origin, std::string)> on_reply;
  net::HttpPool pool;
  std::deque<Copy> queue{};
  std::size_t serving = 0;  ///< tasks
  std::size_t in_flight = 0;
  Nanoseconds rest_until{0};
  std::uint64_t asked = 0;
  ShadowCounts counts{};
  bool gone = false;
};

Shadow::Shadow(net::Loop& loop, const ShadowOptions& options, std::optional<net::TlsPeer> tls,
               std::uint64_t seed, std::function<void(Origin, std::string)> on_reply)
    : shared_(std::make_shared<Shared>(loop, options, std::move(tls), seed, std::move(on_reply))) {}

Shadow::~Shadow() { shared_->gone = true; }

const ShadowCounts& Shadow::counts() const { return shared_->counts; }
std::size_t Shadow::waiting() const { return shared_->queue.size(); }
std::size_t Shadow::in_flight() const { return shared_->in_flight; }

bool Shadow::chooses_next() {
  const std::uint64_t chance = counter_hash({shared_->seed, ++shared_->asked}) >> 11;  // of 2^53
  return static_cast<double>(chance) < shared_->options.rate * 9007199254740992.0;
}

void Shadow::copy(const protocol::RequestBody& body, Origin origin) {
  Shared& shared = *shared_;
  const bool asks = shared.options.engine == ShadowEngine::kSglang;
  const protocol::LegBody leg = protocol::shadow_body(body, shared.options.max_tokens, asks);
  std::size_t bytes = 0;
  for (const std::string_view piece : leg.pieces()) bytes += piece.size();
  // A queue of a dead engine would hold old requests for ever: none waits while it rests.
  const bool resting = shared.loop.now() < shared.rest_until;
  if (resting || shared.queue.size() >= shared.options.queue || bytes > shared.options.max_body_bytes) {
    ++shared.counts.dropped;
    return;
  }
  ++shared.counts.copied;
  const char* const path = body.route == protocol::Route::kChat ? "/v1/chat/completions" : "/v1/completions";
  shared.queue.push_back({path, leg.text(), std::move(origin)});
  if (shared.serving < shared.options.max_in_flight) {
    ++shared.serving;
    shared.loop.spawn(serve(shared_));
  }
}

Task<void> Shadow::serve(std::shared_ptr<Shared> shared) {
  while (!shared->gone && !shared->queue.empty()) {
    Shared::Copy copy = std::move(shared->queue.front());
    shared->queue.pop_front();
    std::vector<net::Header> headers;
    headers.push_back({"Content-Type", "application/json"});
    headers.push_back({"X-Request-Id", "shadow-" + copy.origin.id});
    ++shared->in_flight;
    Result<net::HttpAnswer> answer =
        co_await net::fetch(shared->loop, shared->pool, "POST", std::move(copy.path), std::move(headers),
                            std::move(copy.body), shared->options.timeout, 64u << 20);
    --shared->in_flight;
    if (answer && answer->head.status == 200) {
      ++shared->counts.answered;
      if (!shared->gone) shared->on_reply(std::move(copy.origin), std::move(answer->body));
      continue;
    }
    ++shared->counts.failed;
    // What an engine refuses is the request's matter; what does not answer is left alone for a while.
    if (answer && answer->head.status < 500) continue;
    shared->rest_until = shared->loop.now() + shared->options.retry_after;
    shared->counts.dropped += shared->queue.size();
    shared->queue.clear();
  }
  --shared->serving;
}

}  // namespace moesaic::gateway
