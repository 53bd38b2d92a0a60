// Strong ids. The words are those of docs/words.md; index() gives the number for subscripts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace moesaic {

/// Logical expert of a layer. kMissingExpert marks a choice that the source did not record.
enum class ExpertId : std::uint16_t {};
/// MoE layer by its index among *all* model layers (dense ones count).
enum class LayerId : std::uint16_t {};
enum class GpuId : std::uint32_t {};
enum class NodeId : std::uint32_t {};
/// Slot of one layer: slots of a GPU are contiguous, GPUs of a node are contiguous.
enum class SlotId : std::uint32_t {};
/// Group of requests that share a home: a GPU id (attention dp) or a node id (attention tp).
enum class HomeId : std::uint32_t {};

inline constexpr ExpertId kMissingExpert{0xFFFF};

template <class Id>
  requires std::is_enum_v<Id>
constexpr std::size_t index(Id id) {
  return static_cast<std::size_t>(id);
}

}  // namespace moesaic
