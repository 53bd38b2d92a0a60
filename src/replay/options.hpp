// How a plan is replayed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/result.hpp"
#include "dispatch/dispatch.hpp"

namespace moesaic::replay {

/// docs/objective.md, "modes".
enum class Mode {
  kDedup,      ///< a copy a distinct remote node, forwarded inside it; partial sums come back
  kPerExpert,  ///< a copy a row that leaves its GPU; every result comes back
};
/// How numbers travel. Both ways the same.
enum class Wire { kF32, kBf16 };

std::string_view name(Mode mode);
std::string_view name(Wire wire);
/// "dedup", "per-expert".
Result<Mode> parse_mode(std::string_view text);
/// "f32", "bf16".
Result<Wire> parse_wire(std::string_view text);

struct Options {
  Mode mode = Mode::kDedup;
  Wire wire = Wire::kBf16;
  dispatch::Rule rule = dispatch::Rule::kLocal;
  std::uint64_t dispatch_seed = 0;  ///< of rule random: the plan's
  std::size_t hidden = 0;           ///< numbers of a hidden state
  std::size_t intermediate = 0;     ///< of an expert
  /// Run the experts' matrices. Off: an expert multiplies its input by a number of its own, so that results
  /// can still be checked and the time is that of communication.
  bool compute = true;
  std::size_t batch_tokens = 64;  ///< tokens of one GPU in a micro-batch
  std::size_t check_tokens = 8;   ///< a GPU and layer, compared with the reference; 0 = none
  std::uint64_t seed = 0;         ///< of weights and hidden states
};

/// Bytes of one copy of a hidden state.
std::size_t vector_bytes(const Options& options);

}  // namespace moesaic::replay
