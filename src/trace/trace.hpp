// Reading a trace store (docs/store.md): which experts every token chose in every MoE layer, or counts
// of them. Larger than memory is fine: layers and token ranges are read one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "core/selection.hpp"
#include "io/files.hpp"
#include "trace/requests.hpp"

namespace moesaic::trace {

enum class Kind { kTokens, kCounts };
/// Order of the ids of one token in one layer: ascending, or as the source gave them.
enum class IdOrder { kSet, kScore };
/// What a count row counts: (token, expert) pairs, or shares of them (rows sum to about 1 a layer).
enum class CountUnit { kTokens, kShare };

/// Something the import met that is not plain good input.
struct Anomaly {
  std::string kind;         ///< "repaired", "dropped", "anonymous" or "assumed"
  std::string what;         ///< a full sentence
  std::uint64_t count = 0;  ///< of the unit the sentence names
  bool operator==(const Anomaly&) const = default;
};

/// Where a store came from.
struct Provenance {
  std::string format;                ///< importer name, e.g. "sglang-per-token"
  std::vector<std::string> sources;  ///< base names of the sources, in import order
  std::vector<Anomaly> anomalies;
};

inline constexpr std::uint32_t kNoRequest = 0xFFFFFFFF;

struct CountRow {
  std::uint32_t request = kNoRequest;  ///< row of the request table, or none
  std::uint32_t window = 0;            ///< stretch of time, from 0
  Phase phase = Phase::kAll;
  std::uint16_t domain = 0;  ///< code into requests().domains
  std::uint64_t tokens = 0;  ///< tokens counted; 0 = unknown
};

class Trace {
 public:
  /// Opens and validates all metadata; data are checked when read: crc32c of a shard's
  /// index, checksum of a piece, ids below E.
  /// Errors (bad input) name the file, byte or key, what was expected and what to do.
  static Result<Trace> open(io::FileSystem& files, const std::string& path);
  Trace(Trace&&) noexcept;
  Trace& operator=(Trace&&) noexcept;
  ~Trace();

  const std::string& path() const;
  Kind kind() const;
  const ModelShape& shape() const;
  IdOrder order() const;
  std::uint64_t tokens() const;
  bool has_weights() const;
  /// Also in a counts store, where spans may be empty but ids and domains are meaningful.
  const RequestTable& requests() const;
  const Provenance& provenance() const;
  /// Hexadecimal hash of shape, request table and decoded contents (docs/store.md): two stores with it equal
  /// hold the same data. Where the data came from is not part of it.
  const std::string& digest() const;

  /// Experts of tokens [begin, end) in layer row `layer`: out is [end - begin, k]; kMissingExpert where
  /// the source had none. REQUIRES: kTokens, begin <= end <= tokens(), out.size() == (end - begin) * k.
  /// Thread-safe; memory O(piece); decodes the pieces of that layer alone. Errors: a missing or damaged
  /// chunk.
  Status read_layer(std::size_t layer, std::uint64_t begin, std::uint64_t end, std::span<ExpertId> out) const;
  /// Router weights in the same shape; NaN where missing. REQUIRES: has_weights().
  Status read_weights(std::size_t layer, std::uint64_t begin, std::uint64_t end, std::span<float> out) const;

  /// REQUIRES for the following: kCounts.
  CountUnit count_unit() const;
  const std::vector<CountRow>& count_rows() const;
  /// Counts of one row, [L, E]. Thread-safe.
  Status read_counts(std::size_t row, std::span<double> out) const;

 private:
  struct Impl;
  explicit Trace(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace moesaic::trace
