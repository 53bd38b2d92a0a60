// What a trace knows of its requests: a table of columns, one row a request, in store order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.hpp"

namespace moesaic::trace {

/// The tokens of request r are [start, start + prefill + decode), prefill first. Tokens of a store that
/// no request covers are anonymous: they have loads but no home.
struct RequestTable {
  std::vector<std::uint64_t> start;
  std::vector<std::uint32_t> prefill_tokens;
  std::vector<std::uint32_t> decode_tokens;
  std::vector<std::string> id;           ///< unique
  std::vector<std::uint16_t> domain;     ///< code: position in `domains`
  std::vector<std::int64_t> arrival_ns;  ///< empty when unknown, else one a request
  std::vector<std::string> domains;      ///< "" = no label

  std::size_t size() const { return start.size(); }
  std::uint64_t tokens(std::size_t r) const { return std::uint64_t{prefill_tokens[r]} + decode_tokens[r]; }
};

/// Columns of one length, spans inside [0, tokens) that ascend and do not overlap, codes inside
/// `domains`, unique ids, names in UTF-8 and of
/// bounded length. Errors name `where` and the request. O(n log n).
Status validate(const RequestTable& requests, std::uint64_t tokens, const std::string& where);

}  // namespace moesaic::trace
