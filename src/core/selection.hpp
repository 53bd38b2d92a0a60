// Which requests of a trace take part, and which of their tokens. Held-out sets are a function of
// (seed, request id) alone, stratified by domain, so that a plan can name its split by its seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace moesaic {

enum class Phase { kDecode, kPrefill, kAll };
enum class RequestSet { kAll, kTrain, kHeldout };

std::string_view name(Phase phase);
std::string_view name(RequestSet set);
Result<Phase> parse_phase(std::string_view text);
Result<RequestSet> parse_request_set(std::string_view text);

inline constexpr double kHeldoutShare = 0.2;
inline constexpr std::size_t kHeldoutOneIn = 5;  ///< the same, as plans take it

/// One flag a request: true = held out. In each domain requests are ordered by hash(seed, id), ties by
/// position, and one in `one_in` of all is taken in turn, so every domain is split to within one request.
/// O(n log n); depends on (seed, ids, domains, one_in) only. REQUIRES: one_in > 0.
std::vector<bool> heldout_split(std::span<const std::string> ids, std::span<const std::uint16_t> domains,
                                std::uint64_t seed, std::size_t one_in = kHeldoutOneIn);

/// Positions (ascending) of the requests in the set.
std::vector<std::uint32_t> select_requests(std::span<const std::string> ids,
                                           std::span<const std::uint16_t> domains, RequestSet set,
                                           std::uint64_t seed, std::size_t one_in = kHeldoutOneIn);

/// About `share` of `rows`, ascending: of every domain its share to within one request, spread evenly over
/// the order of hash(seed, id). Share 1 keeps all; a smaller share need not lie within a larger one. O(n log
/// n). REQUIRES: share in (0, 1].
std::vector<std::uint32_t> thinned(std::vector<std::uint32_t> rows, std::span<const std::string> ids,
                                   std::span<const std::uint16_t> domains, std::uint64_t seed, double share);

/// What stands in for the prefill when a request's home is chosen. Tokens predicted from are not scored.
struct PredictFrom {
  bool prefill = true;  ///< the recorded prefill
  double fraction = 0;  ///< else: this share of the request's first decode tokens ...
  std::size_t max = 0;  ///< ... but at most so many (0 = no bound)

  bool operator==(const PredictFrom&) const = default;
};

/// "prefill", "fraction:0.5" or "fraction:0.333,max:48".
Result<PredictFrom> parse_predict_from(std::string_view text);
std::string to_string(const PredictFrom& from);

/// The two spans of a request, as offsets from its first token: predicted from, and scored.
struct TokenSpans {
  std::size_t predict_begin = 0, predict_end = 0;
  std::size_t score_begin = 0, score_end = 0;
};

/// Spans of a request with `prefill` and `decode` tokens. In fraction mode the leading
/// floor(fraction * decode) decode tokens, at least one when decode >= 2, are predicted from.
TokenSpans token_spans(std::size_t prefill, std::size_t decode, Phase phase, const PredictFrom& from);

}  // namespace moesaic
