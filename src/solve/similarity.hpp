// Dot products of sparse rows with a set of dense vectors: the kernel of K-means.
#pragma once

#include <cstddef>
#include <span>

#include "core/thread_pool.hpp"
#include "solve/sparse_rows.hpp"

namespace moesaic::solve {

/// out[r, j] = row r . vectors[j]. Products and sums of up to 64 neighbouring entries are float32, those
/// partial sums are added in double; the order is by column for every pair, so the result depends on
/// neither threads nor the machine's vector width.
/// REQUIRES: vectors is [count, rows.width], out is [rows.rows(), count]. O(nonzeros * count).
void similarities(const SparseRows& rows, std::span<const float> vectors, std::size_t count,
                  std::span<float> out, ThreadPool& pool);

}  // namespace moesaic::solve
