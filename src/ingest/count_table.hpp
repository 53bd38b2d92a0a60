// Rows of counts as importers of count formats gather them, before it is known which planes are dense.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/ids.hpp"
#include "core/result.hpp"
#include "ingest/output.hpp"
#include "trace/writer.hpp"

namespace moesaic::ingest {

/// What a document says of its matrices: [planes, experts] each.
struct CountPlanes {
  std::vector<LayerId> planes;  ///< layer of each plane; 0, 1, ... when !layers_known
  bool layers_known = true;
  bool zero_is_dense = false;    ///< planes that are zero in every row are dense layers, not idle ones
  std::size_t model_layers = 0;  ///< 0 = not said
  std::size_t experts = 0;
  std::size_t top_k = 0;  ///< 0 = not said
  bool operator==(const CountPlanes&) const = default;
};

class CountTable {
 public:
  /// Says what the rows that follow look like. The first document decides; later ones must say the same,
  /// or it is bad input that names `where`.
  Status expect(const CountPlanes& planes, const std::string& where);

  /// Code of a domain for CountRow::domain. At most 65,536 of them, else bad input.
  Result<std::uint16_t> domain(std::string_view name);
  /// A new request for CountRow::request. A repeated id is made unique by "#2", "#3", ...
  std::uint32_t request(const std::string& id, std::uint16_t domain);

  /// Adds counts [planes, experts], none negative. REQUIRES: expect(); the sizes fit.
  void add(const trace::CountRow& row, std::span<const double> counts);

  std::size_t rows() const { return rows_.size(); }

  /// Settles the shape (Output::settle_shape; `path` names the first document), drops dense planes, fills
  /// in tokens of rows that do not know them where every layer counts the same whole number of tokens,
  /// and writes the store. Bad input when there are no rows.
  Status write(Output& output, const std::string& path, trace::CountUnit unit = trace::CountUnit::kTokens);

 private:
  CountPlanes planes_;
  bool started_ = false;
  trace::RequestTable requests_;
  std::unordered_map<std::string, std::size_t> ids_;  ///< how often each was asked for
  std::vector<trace::CountRow> rows_;
  std::vector<double> counts_;  ///< [rows, planes, experts]
};

}  // namespace moesaic::ingest
