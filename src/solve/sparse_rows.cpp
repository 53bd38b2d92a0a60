#include "solve/sparse_rows.hpp"

#include <cmath>

#include "core/check.hpp"

namespace moesaic::solve {
namespace {

double squared_length(std::span<const float> values) {
  double sum = 0;
  for (const float v : values) sum += static_cast<double>(v) * static_cast<double>(v);
  return sum;
}

double scale_to_unit(std::span<float> values) {
  const double length = std::sqrt(squared_length(values));
  if (length > 0) {
    for (float& v : values) v = static_cast<float>(static_cast<double>(v) / length);
  }
  return length;
}

}  // namespace

void SparseRows::append(std::span<const float> dense) {
  MOESAIC_CHECK(dense.size() == width);
  for (std::size_t c = 0; c < width; ++c) {
    if (dense[c] == 0) continue;
    column.push_back(static_cast<std::uint32_t>(c));
    value.push_back(dense[c]);
  }
  start.push_back(column.size());
}

void SparseRows::append(const Row& row) {
  column.insert(column.end(), row.column.begin(), row.column.end());
  value.insert(value.end(), row.value.begin(), row.value.end());
  start.push_back(column.size());
}

SparseRows sparse_rows(std::span<const float> dense, std::size_t width) {
  MOESAIC_CHECK(width > 0 && dense.size() % width == 0);
  SparseRows rows{.width = width};
  for (std::size_t at = 0; at < dense.size(); at += width) rows.append(dense.subspan(at, width));
  return rows;
}

SparseRows pick(const SparseRows& rows, std::span<const std::uint32_t> which) {
  SparseRows picked{.width = rows.width};
  for (const std::uint32_t r : which) picked.append(rows.row(r));
  return picked;
}

void normalise(SparseRows& rows) {
  for (std::size_t r = 0; r < rows.rows(); ++r) {
    scale_to_unit(std::span(rows.value).subspan(rows.start[r], rows.start[r + 1] - rows.start[r]));
  }
}

double normalise(std::span<float> row) { return scale_to_unit(row); }

double dot(const SparseRows::Row& row, std::span<const float> dense) {
  double sum = 0;
  for (std::size_t i = 0; i < row.column.size(); ++i) {
    sum += static_cast<double>(row.value[i]) * static_cast<double>(dense[row.column[i]]);
  }
  return sum;
}

}  // namespace moesaic::solve
