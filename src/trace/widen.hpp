// Stored ids to ExpertId, checked. Written in blocks of constant length so that compilers vectorise them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/ids.hpp"

namespace moesaic::trace {

/// out[i] = in[i], all ones becoming kMissingExpert. Returns false when one is neither below `experts` nor
/// all ones. REQUIRES: in.size() == out.size(); for uint8, experts <= 255.
bool widen_ids(std::span<const std::uint8_t> in, std::size_t experts, std::span<ExpertId> out);
bool widen_ids(std::span<const std::uint16_t> in, std::size_t experts, std::span<ExpertId> out);

}  // namespace moesaic::trace
