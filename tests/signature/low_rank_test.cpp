#include "signature/low_rank.hpp"

#include <cmath>

#include "core/random.hpp"

namespace moesaic::signature {
namespace {

/// b b^T for a random b [n, rank].
std::vector<double> product(std::size_t n, std::size_t rank, Pcg32& random) {
  std::vector<double> b(n * rank), a(n * n);
  for (double& value : b) value = static_cast<double>(random.below(200)) / 100 - 1;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t k = 0; k < rank; ++k) a[i * n + j] += b[i * rank + k] * b[j * rank + k];
    }
  }
  return a;
}

RC_GTEST_PROP(Cholesky, SolvesWhatItFactorised, ()) {
  Pcg32 random(*rc::gen::arbitrary<std::uint64_t>());
  const std::size_t n = 1 + random.below(12);
  const auto a = product(n, 1 + random.below(12), random);
  const double ridge = 0.01 + random.below(100) / 100.0;
  std::vector<double> b(n);
  for (double& value : b) value = static_cast<double>(random.below(200)) - 100;
  std::vector<double> x = b;
  solve_with(cholesky(a, n, ridge), n, x);
  for (std::size_t i = 0; i < n; ++i) {
    double back = ridge * x[i];
    for (std::size_t j = 0; j < n; ++j) back += a[i * n + j] * x[j];
    RC_ASSERT(std::abs(back - b[i]) < 1e-6);
  }
}

TEST(LeadingSpace, FindsTheLargestOfADiagonal) {
  const std::size_t n = 5;
  std::vector<double> a(n * n);
  const double values[] = {1, 9, 0, 25, 3};
  for (std::size_t i = 0; i < n; ++i) a[i * n + i] = values[i];
  const auto rows = leading_space(a, n, 2, 7);
  EXPECT_NEAR(std::abs(rows[3]), 1, 1e-9);
  EXPECT_NEAR(std::abs(rows[n + 1]), 1, 1e-9);
}

RC_GTEST_PROP(LeadingSpace, HoldsAllOfALowRankMatrix, ()) {
  Pcg32 random(*rc::gen::arbitrary<std::uint64_t>());
  const std::size_t n = 2 + random.below(10), rank = 1 + random.below(static_cast<std::uint32_t>(n));
  const auto a = product(n, rank, random);
  const auto rows = leading_space(a, n, rank, 1);
  // Rows are orthonormal, or zero where the matrix has less rank; a = a Q^T Q.
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<double> rest(a.begin() + static_cast<long>(i * n),
                             a.begin() + static_cast<long>((i + 1) * n));
    for (std::size_t r = 0; r < rank; ++r) {
      double part = 0;
      for (std::size_t j = 0; j < n; ++j) part += a[i * n + j] * rows[r * n + j];
      for (std::size_t j = 0; j < n; ++j) rest[j] -= part * rows[r * n + j];
    }
    for (const double value : rest) RC_ASSERT(std::abs(value) < 1e-6);
  }
}

}  // namespace
}  // namespace moesaic::signature
