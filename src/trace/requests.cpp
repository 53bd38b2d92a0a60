#include "trace/requests.hpp"

#include <fmt/format.h>

#include <string_view>
#include <unordered_set>

#include "core/limits.hpp"
#include "io/utf8.hpp"

namespace moesaic::trace {

Status validate(const RequestTable& requests, std::uint64_t tokens, const std::string& where) {
  const std::size_t n = requests.size();
  if (requests.prefill_tokens.size() != n || requests.decode_tokens.size() != n || requests.id.size() != n ||
      requests.domain.size() != n || (!requests.arrival_ns.empty() && requests.arrival_ns.size() != n)) {
    return bad_input(fmt::format("{}: request columns of different lengths, expected {} each", where, n));
  }
  for (const std::string& domain : requests.domains) {
    if (domain.size() > limits::kMaxStringBytes || !io::is_utf8(domain)) {
      return bad_input(fmt::format("{}: a domain has {} bytes, expected UTF-8 of at most {} bytes", where,
                                   domain.size(), limits::kMaxStringBytes));
    }
  }
  std::uint64_t end = 0;
  std::unordered_set<std::string_view> ids;
  ids.reserve(n);
  for (std::size_t r = 0; r < n; ++r) {
    if (requests.start[r] < end || requests.start[r] > tokens ||
        requests.tokens(r) > tokens - requests.start[r]) {
      return bad_input(
          fmt::format("{}: request {} has tokens {} to {}, expected a span after {} and within {}", where, r,
                      requests.start[r], requests.start[r] + requests.tokens(r), end, tokens));
    }
    end = requests.start[r] + requests.tokens(r);
    if (requests.domain[r] >= requests.domains.size()) {
      return bad_input(fmt::format("{}: request {} has domain code {}, expected below {}", where, r,
                                   requests.domain[r], requests.domains.size()));
    }
    if (requests.id[r].size() > limits::kMaxStringBytes || !io::is_utf8(requests.id[r])) {
      return bad_input(
          fmt::format("{}: the id of request {} has {} bytes, expected UTF-8 of at most {} bytes", where, r,
                      requests.id[r].size(), limits::kMaxStringBytes));
    }
    if (!ids.insert(requests.id[r]).second) {
      return bad_input(fmt::format("{}: request id \"{}\" twice; ids must be unique", where, requests.id[r]));
    }
  }
  return {};
}

}  // namespace moesaic::trace
