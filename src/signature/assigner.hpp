// The thing that gives an unseen request its home or decoder from what its prefill activated: the cosine of
// its signature to one prototype a target. plan.json and router.json hold the same object.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "signature/transform.hpp"

namespace moesaic::signature {

enum class Target { kHome, kDecoder };
std::string_view name(Target target);
Result<Target> parse_target(std::string_view text);

struct Assigner {
  Space space{};
  std::vector<float> prototypes{};   ///< [targets, space.width()], each of unit length or all zeros
  std::vector<double> capacities{};  ///< [targets], shares of all traffic: each > 0, their sum 1
  Target target = Target::kHome;

  std::size_t targets() const { return capacities.size(); }
  bool operator==(const Assigner&) const = default;
};

/// Errors (bad input): sizes that do not fit, layers that do not ascend, values that are not finite, negative
/// idf, prototypes whose length is neither 0 nor 1 (to 1e-3), shares that are not positive or do not add up
/// to 1 (to 1e-6). `rows` may still be empty: bind() sets them.
Status validate(const Assigner& assigner);

/// out[t] = cosine of the request's signature to prototype t; all 0 for a request without counts. `counts`
/// is [layer rows, experts]. In double, in a fixed order. O(targets * width). Thread-safe.
/// REQUIRES: a valid, bound assigner; out.size() == targets().
void scores(const Assigner& assigner, std::span<const float> counts, std::span<double> out);

/// scores() of every request, [requests, targets].
std::vector<double> scores(const Assigner& assigner, const CountsView& counts);

/// Index of the highest score, the lowest on ties.
std::size_t best_target(std::span<const double> scores);

/// Prototypes as normalised means of the members' signatures (rows of `signatures`); [targets, width].
std::vector<float> mean_prototypes(const solve::SparseRows& signatures,
                                   std::span<const std::uint32_t> target_of_row, std::size_t targets);

/// targets equal shares.
std::vector<double> equal_shares(std::size_t targets);

}  // namespace moesaic::signature
