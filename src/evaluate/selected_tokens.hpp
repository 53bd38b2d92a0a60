// The tokens of a trace that take part in planning or scoring: some requests, in arrival order, and of
// each the span its home is predicted from and the span that is scored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/result.hpp"
#include "core/selection.hpp"
#include "core/thread_pool.hpp"
#include "trace/trace.hpp"
#include "traffic/tokens.hpp"

namespace moesaic::evaluate {

/// What requests are ordered by: arrival, or a hash of the id where the trace has none.
std::uint64_t arrival_key(const trace::RequestTable& table, std::uint32_t request);

struct TokenChoice {
  std::vector<std::uint32_t> requests;  ///< rows of the request table; any order
  Phase phase = Phase::kDecode;
  PredictFrom from = {};
  /// Score the tokens predicted from as well: for planning, where a request is known whole.
  bool score_predicted = false;
};

/// Which part of a request usage() counts.
enum class Part { kPredict, kScore };

class SelectedTokens {
 public:
  /// REQUIRES: trace.kind() == kTokens and outlives this; rows below requests().size().
  SelectedTokens(const trace::Trace& trace, TokenChoice choice);

  const trace::Trace& source() const { return trace_; }
  const TokenChoice& choice() const { return choice_; }
  /// Rows of the request table in arrival order. Where the trace has no arrivals the order is that of a
  /// hash of the ids: an id order groups domains, which no server sees (docs/decisions/0002).
  std::span<const std::uint32_t> requests() const { return choice_.requests; }
  std::uint64_t scored_tokens() const { return scored_tokens_; }
  std::uint64_t predict_tokens() const { return predict_tokens_; }
  /// Scored tokens of every request, in requests() order.
  std::vector<std::uint64_t> scored_per_request() const;

  /// Segments for the homes of requests(), in that order; positions are offsets in the request.
  std::vector<traffic::Segment> segments(std::span<const HomeId> homes) const;

  /// Scored tokens of a layer row, [scored_tokens(), k], laid out as segments() says. Thread-safe.
  Result<std::vector<ExpertId>> read_layer(std::size_t row) const;

  /// How often each request chose each expert in one part, [requests, L, E], as floats (exact below
  /// 2^24). Parallel over layers. Memory: the result and a block a thread.
  Result<std::vector<float>> usage(Part part, ThreadPool& pool) const;

  /// As usage(), but sums of the router weights of those choices; missing weights add nothing.
  /// REQUIRES: source().has_weights().
  Result<std::vector<float>> router_weights(Part part, ThreadPool& pool) const;

  /// Rows of every (layer, expert) over the scored tokens, [L, E]; with `weights`, those of request i count
  /// weights[i] times.
  Result<std::vector<double>> loads(ThreadPool& pool, std::span<const std::uint32_t> weights = {}) const;

 private:
  /// `count` tokens from store token `from`, wanted at position `to`, of request index `request`.
  struct Piece {
    std::uint64_t from = 0;
    std::size_t count = 0;
    std::size_t to = 0;
    std::size_t request = 0;
  };
  std::vector<Piece> pieces(Part part) const;
  /// Calls visit(piece, experts [n, k] , offset in piece) over a layer's pieces, block by block.
  template <class Visit>
  Status for_each_run(std::size_t row, const std::vector<Piece>& pieces, Visit visit) const;
  const std::vector<Piece>& pieces_of(Part part) const {
    return part == Part::kScore ? score_pieces_ : predict_pieces_;
  }

  const trace::Trace& trace_;
  TokenChoice choice_;
  std::vector<TokenSpans> spans_;  ///< by position in requests()
  std::vector<Piece> score_pieces_, predict_pieces_;
  std::uint64_t scored_tokens_ = 0, predict_tokens_ = 0;
};

/// Phase and stand-in that fit a trace: decode where it has any, else prefill; "prefill" where there is
/// one beside the scored phase, else fraction:0.5. `said` gets a sentence when something was assumed.
struct PhaseChoice {
  Phase phase = Phase::kDecode;
  PredictFrom from = {};
  std::vector<std::string> said;
};
PhaseChoice default_phases(const trace::Trace& trace);
/// The same, where the user said otherwise. A prefill that is scored cannot stand for what is known before
/// it: then fraction:0.5. Errors (bad input): those of parse_phase() and parse_predict_from().
Result<PhaseChoice> choose_phases(const trace::Trace& trace, const std::optional<std::string>& phase,
                                  const std::optional<std::string>& predict_from);

}  // namespace moesaic::evaluate
