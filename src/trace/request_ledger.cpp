#include "trace/request_ledger.hpp"

#include <fmt/format.h>

#include "core/limits.hpp"
#include "io/utf8.hpp"

namespace moesaic::trace {

Status RequestLedger::check(const RequestRecord& request) const {
  for (const std::string* text : {&request.id, &request.domain}) {
    // 32 bytes stay free for the number of a repeated id
    if (text->size() + 32 > limits::kMaxStringBytes || !io::is_utf8(*text)) {
      return bad_input(fmt::format("request {}: its {} has {} bytes, expected UTF-8 and fewer than {}",
                                   table_.size(), text == &request.id ? "id" : "domain", text->size(),
                                   limits::kMaxStringBytes - 32));
    }
  }
  if (request.arrival_ns < -1) {
    return bad_input(
        fmt::format("request \"{}\": arrival {} ns, expected at least 0", request.id, request.arrival_ns));
  }
  const bool arrives = request.arrival_ns >= 0;
  if (table_.size() > 0 && arrives == table_.arrival_ns.empty()) {
    return bad_input(
        fmt::format("request \"{}\": its arrival is {}, unlike that of the requests before; give arrivals "
                    "for all requests or for none",
                    request.id, arrives ? "known" : "unknown"));
  }
  if (table_.size() >= limits::kMaxRequests) {
    return bad_input(fmt::format("more than {} requests in one store", limits::kMaxRequests));
  }
  if (table_.domains.size() > 0xFFFF && !domains_.contains(request.domain)) {
    return bad_input(
        fmt::format("request \"{}\": domain \"{}\" is one too many, expected at most 65536 domains",
                    request.id, request.domain));
  }
  return {};
}

void RequestLedger::add(const RequestRecord& request, std::uint64_t start) {
  const auto [domain, new_domain] =
      domains_.try_emplace(request.domain, static_cast<std::uint16_t>(table_.domains.size()));
  if (new_domain) table_.domains.push_back(request.domain);
  std::string id = request.id;
  if (!ids_.insert(id).second) {
    std::uint64_t& number = repeats_.try_emplace(id, 2).first->second;
    do {
      id = fmt::format("{}#{}", request.id, number++);
    } while (!ids_.insert(id).second);
    ++renamed_;
  }
  table_.start.push_back(start);
  table_.prefill_tokens.push_back(request.prefill_tokens);
  table_.decode_tokens.push_back(request.decode_tokens);
  table_.id.push_back(std::move(id));
  table_.domain.push_back(domain->second);
  if (request.arrival_ns >= 0) table_.arrival_ns.push_back(request.arrival_ns);
}

void RequestLedger::add_anomalies(std::vector<Anomaly>& anomalies) const {
  if (renamed_ == 0) return;
  anomalies.push_back({.kind = "repaired",
                       .what = "Requests had the id of an earlier one and got \"#2\", \"#3\", ... appended.",
                       .count = renamed_});
}

}  // namespace moesaic::trace
