#include "replay/options.hpp"

#include <fmt/format.h>

namespace moesaic::replay {

std::string_view name(Mode mode) { return mode == Mode::kDedup ? "dedup" : "per-expert"; }
std::string_view name(Wire wire) { return wire == Wire::kF32 ? "f32" : "bf16"; }

Result<Mode> parse_mode(std::string_view text) {
  for (const Mode mode : {Mode::kDedup, Mode::kPerExpert}) {
    if (text == name(mode)) return mode;
  }
  return bad_input(fmt::format("--mode {}: expected dedup or per-expert.", text));
}

Result<Wire> parse_wire(std::string_view text) {
  for (const Wire wire : {Wire::kF32, Wire::kBf16}) {
    if (text == name(wire)) return wire;
  }
  return bad_input(fmt::format("--wire {}: expected f32 or bf16.", text));
}

std::size_t vector_bytes(const Options& options) {
  return options.hidden * (options.wire == Wire::kF32 ? 4 : 2);
}

}  // namespace moesaic::replay
