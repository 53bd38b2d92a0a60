// What the parts of a running gateway share. The four states — worker table, policies, signature cache,
// handoff ledger — know nothing of each other; all live on the loop's thread.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "core/model_shape.hpp"
#include "gateway/api_keys.hpp"
#include "gateway/config.hpp"
#include "gateway/handoff_ledger.hpp"
#include "gateway/placer.hpp"
#include "gateway/prompt_usage.hpp"
#include "gateway/signature_cache.hpp"
#include "gateway/telemetry.hpp"
#include "gateway/workers.hpp"
#include "net/loop.hpp"

namespace moesaic::gateway {

class Learning;

/// Shape of the expert counts that the decode policy understands; zero: none.
struct UsageShape {
  std::size_t layers = 0, experts = 0;
  std::size_t top_k = 0;  ///< experts a token; 0: not known
  std::size_t cells() const { return layers * experts; }
};

struct State {
  net::Loop& loop;
  Config config;
  ApiKeys keys{}, admin_keys{};
  std::unique_ptr<Workers> workers{};
  std::unique_ptr<Placer> placer{};
  SignatureCache cache{0, 512};
  std::optional<PromptUsage> prompts{};
  HandoffLedger ledger{};
  Metrics metrics{};
  Log log{};
  UsageShape usage{};
  std::optional<ModelShape> shape{};  ///< of experts that engines return token by token
  Learning* learning = nullptr;       ///< nullptr: nobody learns
  std::size_t in_flight = 0;
  bool draining = false;

  bool ready() const {
    if (draining) return false;
    if (config.handoff == protocol::Handoff::kNone) return workers->routable(Role::kPlain) > 0;
    return workers->routable(Role::kPrefill) > 0 && workers->routable(Role::kDecode) > 0;
  }
};

/// {"error": {"message", "type", "param", "code"}} as OpenAI's clients expect it.
std::string error_body(int status, std::string_view message, std::string_view code = "");

}  // namespace moesaic::gateway
