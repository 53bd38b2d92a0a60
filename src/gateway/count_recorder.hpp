// Requests of which only counts are known — an `eldr_sig`, no tokens — written to stores of counts, a row a
// request: what `moesaic info`, `profile` and `plan` read. Counts are held until their store is written,
// whole or not at all. For one thread: the gateway's helper.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/model_shape.hpp"
#include "gateway/signature_cache.hpp"
#include "gateway/store_folder.hpp"
#include "trace/request_ledger.hpp"

namespace moesaic::gateway {

class CountRecorder {
 public:
  /// Files outlive this. REQUIRES: a valid shape, a folder that was prepared.
  CountRecorder(io::FileSystem& files, const RecordOptions& options, ModelShape shape);
  /// Closes; an error has nobody to hear it.
  ~CountRecorder();

  /// Adds the counts [MoE layers, E] of a prefill. Closes at store_requests and at 64 MiB of counts. Errors
  /// as close(); bad input: an id that no store takes. REQUIRES: whole numbers, as many as the shape has
  /// cells.
  Status add(const std::string& id, std::int64_t arrival_ns, const Usage& prefill);
  /// Writes what there is, then removes the oldest stores. An error loses it.
  Status close();

  std::uint64_t requests() const { return requests_; }  ///< in whole stores
  std::uint64_t lost() const { return lost_; }          ///< in stores that broke
  std::uint64_t stores() const { return stores_; }

 private:
  Status write(std::uint64_t requests);

  io::FileSystem& files_;
  StoreFolder folder_;
  std::uint64_t store_requests_;
  ModelShape shape_;
  trace::RequestLedger ledger_;
  std::vector<trace::CountRow> rows_;
  std::vector<double> counts_;
  std::int64_t first_ns_ = 0;
  std::uint64_t requests_ = 0, lost_ = 0, stores_ = 0;
};

}  // namespace moesaic::gateway
