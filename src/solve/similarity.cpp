#include "solve/similarity.hpp"

#include <algorithm>
#include <vector>

#include "core/check.hpp"

namespace moesaic::solve {
namespace {

using Lanes = float __attribute__((vector_size(16)));  // SSE2 and NEON have it; wider is not needed

constexpr std::size_t kRun = 64;        // entries added in float32 before the sum goes to double
constexpr std::size_t kTileRows = 128;  // rows that share a tile of vectors while it is in cache

/// Dot products of one row with `Width` vectors, which are interleaved: tile[column * Width + j].
template <std::size_t Width>
void row_by_tile(const SparseRows::Row& row, const float* tile, double* out) {
  constexpr std::size_t kParts = Width / 4;
  std::fill_n(out, Width, 0.0);
  for (std::size_t begin = 0; begin < row.column.size(); begin += kRun) {
    const std::size_t end = std::min(row.column.size(), begin + kRun);
    Lanes sum[kParts] = {};
    for (std::size_t i = begin; i < end; ++i) {
      const float* at = tile + std::size_t{row.column[i]} * Width;
      const float v = row.value[i];
      const Lanes value = {v, v, v, v};
#pragma GCC unroll 8
      for (std::size_t p = 0; p < kParts; ++p) {
        sum[p] += value * *reinterpret_cast<const Lanes*>(at + 4 * p);
      }
    }
    for (std::size_t j = 0; j < Width; ++j) out[j] += static_cast<double>(sum[j / 4][j % 4]);
  }
}

/// Vectors [first, first + width) interleaved, zeros where there are fewer. Aligned for Lanes.
struct Tile {
  std::size_t first = 0, width = 0;
  std::vector<Lanes> data;
  const float* begin() const { return reinterpret_cast<const float*>(data.data()); }
};

std::vector<Tile> tiles_of(std::span<const float> vectors, std::size_t count, std::size_t dimension) {
  std::vector<Tile> tiles;
  for (std::size_t first = 0; first < count; first += tiles.back().width) {
    const std::size_t left = count - first;
    const std::size_t width = left > 16 ? 32 : left > 8 ? 16 : left > 4 ? 8 : 4;
    Tile tile{first, width, std::vector<Lanes>(dimension * width / 4)};
    for (std::size_t j = 0; j < std::min(width, left); ++j) {
      const float* vector = &vectors[(first + j) * dimension];
      for (std::size_t d = 0; d < dimension; ++d) tile.data[(d * width + j) / 4][j % 4] = vector[d];
    }
    tiles.push_back(std::move(tile));
  }
  return tiles;
}

}  // namespace

void similarities(const SparseRows& rows, std::span<const float> vectors, std::size_t count,
                  std::span<float> out, ThreadPool& pool) {
  MOESAIC_CHECK(vectors.size() == count * rows.width && out.size() == rows.rows() * count);
  const std::vector<Tile> tiles = tiles_of(vectors, count, rows.width);
  pool.parallel_for((rows.rows() + kTileRows - 1) / kTileRows, [&](std::size_t block) {
    const std::size_t begin = block * kTileRows;
    const std::size_t end = std::min(rows.rows(), begin + kTileRows);
    double sums[32];
    for (const Tile& tile : tiles) {
      const std::size_t width = std::min(tile.width, count - tile.first);
      for (std::size_t r = begin; r < end; ++r) {
        const SparseRows::Row row = rows.row(r);
        switch (tile.width) {
          case 32:
            row_by_tile<32>(row, tile.begin(), sums);
            break;
          case 16:
            row_by_tile<16>(row, tile.begin(), sums);
            break;
          case 8:
            row_by_tile<8>(row, tile.begin(), sums);
            break;
          default:
            row_by_tile<4>(row, tile.begin(), sums);
            break;
        }
        for (std::size_t j = 0; j < width; ++j) out[r * count + tile.first + j] = static_cast<float>(sums[j]);
      }
    }
  });
}

}  // namespace moesaic::solve
