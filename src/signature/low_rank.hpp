// The linear algebra of small symmetric systems, for the fit of predictors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace moesaic::signature {

/// L of the Cholesky factorisation of a + ridge I, for a symmetric positive semidefinite a [n, n]; lower
/// triangle. O(n^3 / 3). REQUIRES: ridge > 0.
std::vector<double> cholesky(std::span<const double> a, std::size_t n, double ridge);

/// x of L L^T x = b, in place; b [n]. O(n^2).
void solve_with(std::span<const double> cholesky, std::size_t n, std::span<double> b);

/// About the `count` leading eigenvectors [count, n] of a symmetric positive semidefinite a [n, n]:
/// orthonormal rows that span them, by orthogonal iteration (Golub, Van Loan, Matrix Computations, 8.2.4).
/// Deterministic. O(iterations count n (n + count)). REQUIRES: count <= n.
std::vector<double> leading_space(std::span<const double> a, std::size_t n, std::size_t count,
                                  std::uint64_t seed);

}  // namespace moesaic::signature
