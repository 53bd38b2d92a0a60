#include "signature/assigner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.hpp"

namespace moesaic::signature {

std::string_view name(Target target) { return target == Target::kHome ? "home" : "decoder"; }

Result<Target> parse_target(std::string_view text) {
  if (text == "home") return Target::kHome;
  if (text == "decoder") return Target::kDecoder;
  return bad_input(fmt::format("'{}' is no target of an assigner; expected home or decoder.", text));
}

namespace {

bool finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
}

Status validate(const Space& space) {
  if (space.layers.empty() || space.experts == 0) {
    return bad_input("The assigner has no layers or no experts; expected at least one of each.");
  }
  if (!std::ranges::is_sorted(space.layers, std::less_equal{})) {
    return bad_input("The assigner's layers do not ascend; list each layer once, in order.");
  }
  if (!space.rows.empty() && space.rows.size() != space.layers.size()) {
    return bad_input(
        fmt::format("The assigner has {} layer rows for {} layers.", space.rows.size(), space.layers.size()));
  }
  const std::size_t expected = space.transform == Transform::kCountIdf ? space.width() : 0;
  if (space.idf.size() != expected) {
    return bad_input(fmt::format("The assigner has {} idf values; its transform {} expects {}.",
                                 space.idf.size(), name(space.transform), expected));
  }
  if (!finite(space.idf) || std::ranges::any_of(space.idf, [](float v) { return v < 0; })) {
    return bad_input("The assigner's idf holds a negative or infinite value; fit it again.");
  }
  return {};
}

}  // namespace

Status validate(const Assigner& assigner) {
  MOESAIC_TRY(validate(assigner.space));
  const std::size_t width = assigner.space.width();
  if (assigner.targets() == 0 || assigner.prototypes.size() != assigner.targets() * width) {
    return bad_input(fmt::format("The assigner has {} prototype values; {} targets of {} values expect {}.",
                                 assigner.prototypes.size(), assigner.targets(), width,
                                 assigner.targets() * width));
  }
  if (!finite(assigner.prototypes)) {
    return bad_input("The assigner's prototypes hold a value that is not finite; fit it again.");
  }
  for (std::size_t t = 0; t < assigner.targets(); ++t) {
    double squares = 0;
    for (const float v : std::span(assigner.prototypes).subspan(t * width, width)) {
      squares += static_cast<double>(v) * static_cast<double>(v);
    }
    if (squares != 0 && std::abs(std::sqrt(squares) - 1) > 1e-3) {
      return bad_input(
          fmt::format("Prototype {} of the assigner has length {:.6g}; expected 1.", t, std::sqrt(squares)));
    }
    if (!(assigner.capacities[t] > 0)) {
      return bad_input(fmt::format("Target {} of the assigner has the share {}; expected above 0.", t,
                                   assigner.capacities[t]));
    }
  }
  const double sum = std::accumulate(assigner.capacities.begin(), assigner.capacities.end(), 0.0);
  if (!(std::abs(sum - 1) <= 1e-6)) {
    return bad_input(fmt::format("The assigner's shares add up to {}; expected 1.", sum));
  }
  return {};
}

void scores(const Assigner& assigner, std::span<const float> counts, std::span<double> out) {
  MOESAIC_CHECK(out.size() == assigner.targets());
  const std::size_t width = assigner.space.width();
  std::vector<float> own(width);
  signature(assigner.space, counts, own);
  solve::SparseRows row{.width = width};
  row.append(own);
  for (std::size_t t = 0; t < out.size(); ++t) {
    out[t] = solve::dot(row.row(0), std::span(assigner.prototypes).subspan(t * width, width));
  }
}

std::vector<double> scores(const Assigner& assigner, const CountsView& counts) {
  std::vector<double> all(counts.requests() * assigner.targets());
  for (std::size_t r = 0; r < counts.requests(); ++r) {
    scores(assigner, counts.request(r), std::span(all).subspan(r * assigner.targets(), assigner.targets()));
  }
  return all;
}

std::size_t best_target(std::span<const double> scores) {
  return static_cast<std::size_t>(std::ranges::max_element(scores) - scores.begin());
}

std::vector<float> mean_prototypes(const solve::SparseRows& signatures,
                                   std::span<const std::uint32_t> target_of_row, std::size_t targets) {
  MOESAIC_CHECK(target_of_row.size() == signatures.rows());
  const std::size_t width = signatures.width;
  std::vector<double> sums(targets * width);
  for (std::size_t r = 0; r < signatures.rows(); ++r) {
    MOESAIC_CHECK(target_of_row[r] < targets);
    const solve::SparseRows::Row row = signatures.row(r);
    for (std::size_t i = 0; i < row.column.size(); ++i) {
      sums[target_of_row[r] * width + row.column[i]] += static_cast<double>(row.value[i]);
    }
  }
  std::vector<float> prototypes(sums.size());
  for (std::size_t t = 0; t < targets; ++t) {
    double squares = 0;
    for (std::size_t i = t * width; i < (t + 1) * width; ++i) squares += sums[i] * sums[i];
    if (squares == 0) continue;
    const double length = std::sqrt(squares);
    for (std::size_t i = t * width; i < (t + 1) * width; ++i)
      prototypes[i] = static_cast<float>(sums[i] / length);
  }
  return prototypes;
}

std::vector<double> equal_shares(std::size_t targets) {
  return std::vector<double>(targets, 1.0 / static_cast<double>(targets));
}

}  // namespace moesaic::signature
