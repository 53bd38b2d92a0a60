// Does a prefill tell what kind of request it belongs to?
#pragma once

#include <cstdint>
#include <span>

#include "signature/counts.hpp"
#include "signature/transform.hpp"

namespace moesaic::signature {

/// Requests with labels below some count.
struct LabelledCounts {
  CountsView counts;
  std::span<const std::uint32_t> label;  ///< [requests]
};

/// Share of `unseen` whose label is that of the nearest mean signature of `known`, labels below `labels`;
/// 0 when there is none to ask. REQUIRES: counts that fit `space`, at least one label.
double type_accuracy(const Space& space, const LabelledCounts& known, const LabelledCounts& unseen,
                     std::size_t labels);

}  // namespace moesaic::signature
