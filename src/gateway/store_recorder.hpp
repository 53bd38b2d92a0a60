// Requests whose experts are known, written to trace stores one after the other: what `moesaic info`, `plan`
// and `fit` read. A store gets its name when it is whole; what breaks leaves nothing behind. No text of
// prompts or answers is written. For one thread: the gateway's helper.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "gateway/known_experts.hpp"
#include "gateway/store_folder.hpp"
#include "trace/writer.hpp"

namespace moesaic::gateway {

class StoreRecorder {
 public:
  /// Files outlive this. REQUIRES: a valid shape.
  StoreRecorder(io::FileSystem& files, RecordOptions options, ModelShape shape);
  /// Closes; an error has nobody to hear it.
  ~StoreRecorder();

  /// StoreFolder::prepare().
  Status prepare() { return folder_.prepare(); }
  /// Adds a request to the open store, or to a new one. An error drops the open store, and nothing is
  /// recorded before the next close(): a full disk is not asked for every request.
  Status add(const std::string& id, std::int64_t arrival_ns, const KnownExperts& known);
  /// Gives the open store its name, then removes the oldest stores beyond max_bytes.
  Status close();

  std::uint64_t requests() const { return requests_; }  ///< in whole stores
  std::uint64_t lost() const { return lost_; }  ///< in stores that broke, or that came while none is kept
  std::uint64_t stores() const { return stores_; }

 private:
  Status open(std::int64_t arrival_ns);
  Status broken(const Error& error);

  io::FileSystem& files_;
  RecordOptions options_;
  StoreFolder folder_;
  ModelShape shape_;
  std::unique_ptr<trace::TokenWriter> writer_;
  std::string path_;        ///< of the open store
  std::uint64_t open_ = 0;  ///< requests in it
  bool paused_ = false;
  std::uint64_t requests_ = 0, lost_ = 0, stores_ = 0;
};

}  // namespace moesaic::gateway
