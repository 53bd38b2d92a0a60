#include "signature/low_rank.hpp"

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "core/random.hpp"

namespace moesaic::signature {
namespace {

constexpr int kIterations = 30;

double inner(const double* a, const double* b, std::size_t n) {
  double sums[4] = {};
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (std::size_t lane = 0; lane < 4; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < n; ++i) sums[0] += a[i] * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// Modified Gram-Schmidt of rows [count, n]. A row that the ones before span becomes zero.
void orthonormalise(std::vector<double>& rows, std::size_t n, std::size_t count) {
  for (std::size_t r = 0; r < count; ++r) {
    double* row = rows.data() + r * n;
    const double before = std::sqrt(inner(row, row, n));
    for (std::size_t other = 0; other < r; ++other) {
      const double* along = rows.data() + other * n;
      const double part = inner(row, along, n);
      for (std::size_t i = 0; i < n; ++i) row[i] -= part * along[i];
    }
    const double length = std::sqrt(inner(row, row, n));
    const double scale = length > 1e-10 * before && length > 0 ? 1 / length : 0;
    for (std::size_t i = 0; i < n; ++i) row[i] *= scale;
  }
}

}  // namespace

std::vector<double> cholesky(std::span<const double> a, std::size_t n, double ridge) {
  MOESAIC_CHECK(a.size() == n * n && ridge > 0);
  std::vector<double> l(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      const double rest = a[i * n + j] - inner(l.data() + i * n, l.data() + j * n, j);
      l[i * n + j] = i == j ? std::sqrt(std::max(rest + ridge, ridge * 1e-3)) : rest / l[j * n + j];
    }
  }
  return l;
}

void solve_with(std::span<const double> l, std::size_t n, std::span<double> b) {
  MOESAIC_CHECK(l.size() == n * n && b.size() == n);
  for (std::size_t i = 0; i < n; ++i) b[i] = (b[i] - inner(l.data() + i * n, b.data(), i)) / l[i * n + i];
  for (std::size_t i = n; i-- > 0;) {
    b[i] /= l[i * n + i];
    for (std::size_t j = 0; j < i; ++j) b[j] -= l[i * n + j] * b[i];
  }
}

std::vector<double> leading_space(std::span<const double> a, std::size_t n, std::size_t count,
                                  std::uint64_t seed) {
  MOESAIC_CHECK(a.size() == n * n && count <= n);
  Pcg32 random(seed, 0x5AACE);
  std::vector<double> rows(count * n), next(rows.size());
  for (double& value : rows) value = static_cast<double>(random.below(2001)) - 1000;
  orthonormalise(rows, n, count);
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    for (std::size_t r = 0; r < count; ++r) {
      for (std::size_t i = 0; i < n; ++i) next[r * n + i] = inner(a.data() + i * n, rows.data() + r * n, n);
    }
    rows.swap(next);
    orthonormalise(rows, n, count);
  }
  return rows;
}

}  // namespace moesaic::signature
