// Brings the planes that documents have (rows of their L axis) to the layers of the store: which planes are
// dense, how ids divide into planes where the source does not say, and that all documents agree.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "comm/comm.hpp"
#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "ingest/document_batches.hpp"
#include "ingest/output.hpp"

namespace moesaic::ingest {

class PlaneMap {
 public:
  bool settled() const { return settled_; }
  const ModelShape& shape() const { return shape_; }

  /// Whether learn() has nothing to learn from this batch.
  bool knows(const std::vector<ReadDocument>& batch) const;

  /// Learns from the next batches of each rank what is not known yet; the first batch that can tell decides,
  /// for all ranks. Errors (bad input): as divide(), a model that does not fit. Collective; fails on all
  /// ranks alike.
  Status learn(std::span<Batch> batches, Output& output, comm::Comm& comm);

  /// Divides documents that do not know their planes, once it is known how. Errors (bad input): ids that do
  /// not divide.
  Status divide(std::vector<ReadDocument>& batch) const;

  /// The document must have the planes of the first one, and nothing in those that were taken for dense.
  Status check(const ReadDocument& item) const;

  /// Experts [tokens, L, k] of a request that has [tokens, planes, k]; `scratch` may be what they lie in.
  std::span<const ExpertId> rows(const std::vector<ExpertId>& experts, std::vector<ExpertId>& scratch) const;

 private:
  Status find_top_k(const std::vector<ReadDocument>& batch, Output& output);
  Status settle(const std::vector<ReadDocument>& batch, Output& output);
  comm::Bytes pack() const;
  void unpack(const comm::Bytes& bytes);

  std::size_t top_k_ = 0;  ///< for documents that do not know it
  bool settled_ = false;
  ModelShape shape_;
  std::vector<LayerId> planes_;
  std::vector<std::size_t> kept_;  ///< plane of each layer row
  std::string first_path_;
};

}  // namespace moesaic::ingest
