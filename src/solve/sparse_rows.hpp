// Rows of mostly zeros: what counts of a request over all experts look like.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace moesaic::solve {

/// Compressed sparse rows. Invariants: start.size() == rows() + 1, columns of a row ascend and are below
/// `width`, column.size() == value.size() == start.back().
struct SparseRows {
  std::size_t width = 0;
  std::vector<std::uint64_t> start{0};
  std::vector<std::uint32_t> column{};
  std::vector<float> value{};

  struct Row {
    std::span<const std::uint32_t> column;
    std::span<const float> value;
  };
  std::size_t rows() const { return start.size() - 1; }
  Row row(std::size_t r) const {
    const std::size_t length = start[r + 1] - start[r];
    return {std::span(column).subspan(start[r], length), std::span(value).subspan(start[r], length)};
  }
  /// Appends a dense row, its zeros left out. REQUIRES: dense.size() == width.
  void append(std::span<const float> dense);
  void append(const Row& row);
};

/// REQUIRES: dense is [rows, width], width > 0.
SparseRows sparse_rows(std::span<const float> dense, std::size_t width);

/// The named rows in their order.
SparseRows pick(const SparseRows& rows, std::span<const std::uint32_t> which);

/// Divides every row by its Euclidean length (summed in double, by column); rows of zeros stay.
void normalise(SparseRows& rows);
/// As above, for one dense row. Returns the length.
double normalise(std::span<float> row);

/// Sum over a row's entries of value * dense[column], in double, by column.
double dot(const SparseRows::Row& row, std::span<const float> dense);

}  // namespace moesaic::solve
