#include "core/selection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "core/check.hpp"
#include "core/random.hpp"

namespace moesaic {

std::string_view name(Phase phase) {
  switch (phase) {
    case Phase::kDecode:
      return "decode";
    case Phase::kPrefill:
      return "prefill";
    case Phase::kAll:
      break;
  }
  return "all";
}

std::string_view name(RequestSet set) {
  switch (set) {
    case RequestSet::kTrain:
      return "train";
    case RequestSet::kHeldout:
      return "heldout";
    case RequestSet::kAll:
      break;
  }
  return "all";
}

Result<Phase> parse_phase(std::string_view text) {
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill, Phase::kAll}) {
    if (text == name(phase)) return phase;
  }
  return bad_input(fmt::format("--phase {}: expected decode, prefill or all", text));
}

Result<RequestSet> parse_request_set(std::string_view text) {
  for (const RequestSet set : {RequestSet::kAll, RequestSet::kTrain, RequestSet::kHeldout}) {
    if (text == name(set)) return set;
  }
  return bad_input(fmt::format("--requests {}: expected all, train, heldout or @file", text));
}

namespace {

/// `rows` by (domain, hash of seed and id, row).
void order_in_domains(std::vector<std::uint32_t>& rows, std::span<const std::string> ids,
                      std::span<const std::uint16_t> domains, std::uint64_t seed) {
  std::vector<std::uint64_t> hash(ids.size());
  for (const std::uint32_t row : rows) hash[row] = counter_hash({seed, hash_bytes(ids[row])});
  std::ranges::sort(rows, [&](std::uint32_t a, std::uint32_t b) {
    return std::tuple(domains[a], hash[a], a) < std::tuple(domains[b], hash[b], b);
  });
}

}  // namespace

std::vector<bool> heldout_split(std::span<const std::string> ids, std::span<const std::uint16_t> domains,
                                std::uint64_t seed, std::size_t one_in) {
  MOESAIC_CHECK(ids.size() == domains.size() && one_in > 0);
  std::vector<std::uint32_t> order(ids.size());
  std::iota(order.begin(), order.end(), 0u);
  order_in_domains(order, ids, domains, seed);
  std::vector<bool> heldout(ids.size());
  static_assert(kHeldoutShare * kHeldoutOneIn == 1.0);
  for (std::size_t rank = 0; rank < order.size(); ++rank) heldout[order[rank]] = rank % one_in == one_in / 2;
  return heldout;
}

std::vector<std::uint32_t> select_requests(std::span<const std::string> ids,
                                           std::span<const std::uint16_t> domains, RequestSet set,
                                           std::uint64_t seed, std::size_t one_in) {
  std::vector<bool> heldout(ids.size());
  if (set != RequestSet::kAll) heldout = heldout_split(ids, domains, seed, one_in);
  std::vector<std::uint32_t> selected;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (set == RequestSet::kAll || heldout[i] == (set == RequestSet::kHeldout)) {
      selected.push_back(static_cast<std::uint32_t>(i));
    }
  }
  return selected;
}

std::vector<std::uint32_t> thinned(std::vector<std::uint32_t> rows, std::span<const std::string> ids,
                                   std::span<const std::uint16_t> domains, std::uint64_t seed, double share) {
  MOESAIC_CHECK(ids.size() == domains.size() && share > 0 && share <= 1);
  // Another order than heldout_split()'s, which dealt these rows out.
  order_in_domains(rows, ids, domains, counter_hash({seed, 1}));
  std::vector<std::uint32_t> kept;
  for (std::size_t rank = 0; rank < rows.size(); ++rank) {
    const double before = static_cast<double>(rank) * share;
    if (std::floor(before + share + 1e-9) > std::floor(before + 1e-9)) kept.push_back(rows[rank]);
  }
  std::ranges::sort(kept);
  return kept;
}

Result<PredictFrom> parse_predict_from(std::string_view text) {
  const auto fail = [&] {
    return bad_input(fmt::format(
        "--predict-from {}: expected prefill, fraction:F or fraction:F,max:N with 0 < F < 1", text));
  };
  if (text == "prefill") return PredictFrom{};
  std::string_view rest = text;
  constexpr std::string_view kFraction = "fraction:", kMax = ",max:";
  if (!rest.starts_with(kFraction)) return fail();
  rest.remove_prefix(kFraction.size());
  PredictFrom from{.prefill = false};
  auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), from.fraction);
  if (parsed.ec != std::errc{} || !(from.fraction > 0 && from.fraction < 1)) return fail();
  rest.remove_prefix(static_cast<std::size_t>(parsed.ptr - rest.data()));
  if (rest.empty()) return from;
  if (!rest.starts_with(kMax)) return fail();
  rest.remove_prefix(kMax.size());
  parsed = std::from_chars(rest.data(), rest.data() + rest.size(), from.max);
  if (parsed.ec != std::errc{} || parsed.ptr != rest.data() + rest.size() || from.max == 0) return fail();
  return from;
}

std::string to_string(const PredictFrom& from) {
  if (from.prefill) return "prefill";
  if (from.max == 0) return fmt::format("fraction:{}", from.fraction);
  return fmt::format("fraction:{},max:{}", from.fraction, from.max);
}

TokenSpans token_spans(std::size_t prefill, std::size_t decode, Phase phase, const PredictFrom& from) {
  TokenSpans spans;
  if (from.prefill) {
    spans.predict_end = prefill;
    switch (phase) {
      case Phase::kDecode:
        spans.score_begin = prefill, spans.score_end = prefill + decode;
        break;
      case Phase::kPrefill:
        spans.score_end = prefill;
        break;
      case Phase::kAll:
        spans.score_end = prefill + decode;
        break;
    }
    // A prefill that is scored cannot also be what the home is predicted from.
    if (phase != Phase::kDecode) spans.predict_end = 0;
    return spans;
  }
  const std::size_t begin = phase == Phase::kDecode ? prefill : 0;
  const std::size_t end = phase == Phase::kPrefill ? prefill : prefill + decode;
  const std::size_t length = end - begin;
  auto head = static_cast<std::size_t>(from.fraction * static_cast<double>(length));
  if (head == 0 && length >= 2) head = 1;
  if (from.max != 0) head = std::min(head, from.max);
  return {.predict_begin = begin, .predict_end = begin + head, .score_begin = begin + head, .score_end = end};
}

}  // namespace moesaic
