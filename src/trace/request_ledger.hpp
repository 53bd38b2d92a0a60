// Builds the request table while requests are added: unique ids, domain codes, spans.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "core/result.hpp"
#include "trace/requests.hpp"
#include "trace/trace.hpp"
#include "trace/writer.hpp"

namespace moesaic::trace {

class RequestLedger {
 public:
  /// What add() would refuse: names that are not UTF-8 or too long, arrivals known for some requests only,
  /// too many domains.
  Status check(const RequestRecord& request) const;
  /// Adds a request whose tokens begin at `start`. REQUIRES: check(request).
  void add(const RequestRecord& request, std::uint64_t start);

  const RequestTable& table() const { return table_; }
  /// Appends what was met on the way.
  void add_anomalies(std::vector<Anomaly>& anomalies) const;

 private:
  RequestTable table_;
  std::unordered_map<std::string, std::uint16_t> domains_;
  std::unordered_set<std::string> ids_;
  std::unordered_map<std::string, std::uint64_t> repeats_;  ///< the number the next repeat of an id gets
  std::uint64_t renamed_ = 0;
};

}  // namespace moesaic::trace
