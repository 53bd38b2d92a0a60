// Recorded requests in the form a simulated decoder reads: for every decode position one bit a (layer,
// expert), so that what a batch activates is the OR of its rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "evaluate/selected_tokens.hpp"

namespace moesaic::simulate {

struct RecordedRequest {
  std::size_t first = 0;             ///< row in Recording::bits of its first decode position
  std::uint32_t decode_tokens = 1;   ///< recorded decode positions, >= 1
  std::uint32_t prompt_tokens = 0;   ///< tokens its usage was predicted from
  std::uint32_t counted_tokens = 0;  ///< tokens that prefill_counts counts
  std::uint16_t domain = 0;          ///< into Recording::domains
};

struct Recording {
  ModelShape shape{};
  std::vector<std::string> domains{};
  std::vector<RecordedRequest> requests{};
  /// [positions, words()]: bit layer x E + expert. Requests may share rows.
  std::vector<std::uint64_t> bits{};
  std::vector<float> prefill_counts{};  ///< [requests, L, E]; empty: no policy sees any usage
  std::vector<float> decode_shares{};  ///< [requests, L, E] share of decode positions that activate; or empty
  /// [requests, L, E] probability that a decode position activates, as somebody foretells it who has not
  /// learnt from the request; empty: policies foretell for themselves.
  std::vector<float> foretold{};

  std::size_t cells() const { return shape.layers.size() * shape.experts; }
  std::size_t words() const { return (cells() + 63) / 64; }
  std::span<const float> counts(std::size_t request) const { return row(prefill_counts, request); }
  std::span<const float> shares(std::size_t request) const { return row(decode_shares, request); }
  std::span<const float> foretold_of(std::size_t request) const { return row(foretold, request); }
  double mean_decode_tokens() const;

 private:
  std::span<const float> row(const std::vector<float>& values, std::size_t request) const {
    return values.empty() ? std::span<const float>() : std::span(values).subspan(request * cells(), cells());
  }
};

/// The requests of `tokens` that have decode positions to score, in its order. Each prompt counts the tokens
/// predicted from, each decode position is a scored token. Memory: cells / 8 bytes a token and 8 x cells a
/// request. Errors: those of reading the store; bad input when no request has a position.
Result<Recording> read_recording(const evaluate::SelectedTokens& tokens, ThreadPool& pool);

}  // namespace moesaic::simulate
