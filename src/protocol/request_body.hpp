// The body of a completion or chat request, read once: only the fields that placing or handing over a
// request needs. Everything else stays the client's bytes, in its order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace moesaic::protocol {

enum class Route { kCompletions, kChat };

/// Top-level fields that this module may take out or replace.
enum class Field : std::uint8_t {
  kOther,
  kModel,
  kPrompt,  ///< "prompt", or "messages" of a chat
  kStream,
  kStreamOptions,
  kN,
  kMaxTokens,
  kMaxCompletionTokens,
  kMinTokens,
  kPromptTokens,  ///< add_special_tokens, truncate_prompt_tokens: how a prompt's text becomes tokens
  /// What only the gateway may say: kv_transfer_params, bootstrap_*, *dp_rank*, data_parallel_rank*.
  kReserved,
};

struct RequestBody {
  Route route = Route::kCompletions;
  std::string model{};        ///< unescaped; empty when absent
  std::string_view prompt{};  ///< JSON text of the prompt or the messages; empty when absent
  bool stream = false;
  bool include_usage = false;  ///< stream_options.include_usage
  /// The answer is the prompt's continuation and no more: no logprobs, echo, grammar, tools and the like.
  bool plain_text = true;
  std::uint64_t choices = 1;  ///< n (or best_of, when larger)
  std::optional<std::uint64_t> max_tokens{}, max_completion_tokens{}, min_tokens{};
  std::vector<std::string> reserved{};  ///< names of reserved fields that the client sent

  /// A member of the top-level object: its bytes from the key's quote to the end of its value.
  struct Member {
    Field field;
    std::string_view text;
  };
  std::vector<Member> members{};

  /// Upper bound on tokens the client asks for; `otherwise` when it says nothing.
  std::uint64_t output_limit(std::uint64_t otherwise) const {
    return max_completion_tokens.value_or(max_tokens.value_or(otherwise));
  }
};

/// Keeps the parser's memory between requests. Not thread-safe.
class RequestReader {
 public:
  RequestReader();
  ~RequestReader();
  /// Views into `body`, which must live and stay unchanged as long as the result; some bytes are reserved
  /// behind its end. One pass, O(body). Errors (bad input) name the field: no JSON object, a field of the
  /// wrong type that we must understand, no prompt, more than 1024 top-level fields. What is inside fields
  /// that we do not need is the engine's to check.
  Result<RequestBody> read(std::string& body, Route route);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Body of one leg as pieces to be sent in order: views into the client's body and into `added`.
class LegBody {
 public:
  /// The members of `body` without the fields in `without` (reserved ones are always left out), preceded by
  /// `added`: members as JSON text ("\"a\":1,\"b\":2"), or "".
  LegBody(const RequestBody& body, std::string added, std::initializer_list<Field> without);
  LegBody(const LegBody&) = delete;
  LegBody& operator=(const LegBody&) = delete;

  const std::vector<std::string_view>& pieces() const { return pieces_; }
  std::string text() const;

 private:
  std::string added_;
  std::vector<std::string_view> pieces_;
};

}  // namespace moesaic::protocol
