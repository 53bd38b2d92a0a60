#include "ingest/infer_top_k.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"

namespace moesaic::ingest {
namespace {

/// Coincidences that chance would have shown, had the planes been put together wrongly.
constexpr std::size_t kEvidence = 20;

struct Columns {
  std::vector<bool> zero;   ///< holds nothing but 0
  std::size_t experts = 0;  ///< largest id + 1
  std::size_t rows = 0;
};

Columns survey(const std::vector<std::span<const ExpertId>>& blocks, std::size_t width) {
  Columns out{std::vector<bool>(width, true), 0, 0};
  for (const auto& block : blocks) {
    out.rows += block.size() / width;
    for (std::size_t i = 0; i < block.size(); ++i) {
      if (block[i] == kMissingExpert || block[i] == ExpertId{0}) continue;
      out.zero[i % width] = false;
      out.experts = std::max(out.experts, index(block[i]) + 1);
    }
  }
  return out;
}

bool has_repeat(std::span<const ExpertId> plane) {
  for (std::size_t i = 1; i < plane.size(); ++i) {
    if (plane[i] == kMissingExpert) continue;
    if (std::find(plane.begin(), plane.begin() + static_cast<std::ptrdiff_t>(i), plane[i]) !=
        plane.begin() + static_cast<std::ptrdiff_t>(i)) {
      return true;
    }
  }
  return false;
}

bool refuted(const std::vector<std::span<const ExpertId>>& blocks, const Columns& columns, std::size_t width,
             std::size_t k) {
  for (std::size_t begin = 0; begin < width; begin += k) {
    const auto zeros = std::count(columns.zero.begin() + static_cast<std::ptrdiff_t>(begin),
                                  columns.zero.begin() + static_cast<std::ptrdiff_t>(begin + k), true);
    if (zeros == static_cast<std::ptrdiff_t>(k)) continue;  // dense
    if (zeros != 0) return true;
    for (const auto& block : blocks) {
      for (std::size_t row = begin; row < block.size(); row += width) {
        if (has_repeat(block.subspan(row, k))) return true;
      }
    }
  }
  return false;
}

}  // namespace

Result<std::size_t> infer_top_k(const std::vector<std::span<const ExpertId>>& blocks, std::size_t width,
                                const std::string& where) {
  const Columns columns = survey(blocks, width);
  for (std::size_t k = std::min(width, limits::kMaxTopK); k > 0; --k) {
    if (width % k != 0 || width / k > limits::kMaxLayers || refuted(blocks, columns, width, k)) continue;
    // Were the true number a divisor of k, each row would put at least two layers' ids into each plane.
    const auto live = static_cast<std::size_t>(std::count(columns.zero.begin(), columns.zero.end(), false));
    const std::size_t pairs = columns.rows * (live / k);
    if (k == 1 || pairs >= kEvidence * columns.experts) return k;
    break;
  }
  return bad_input(
      fmt::format("{}: {} ids a token over all layers, and too few tokens to tell how many experts a "
                  "layer that is; name the model with --model, or give --shape",
                  where, width));
}

}  // namespace moesaic::ingest
