// Placements in the files that inference engines load, both ways. One .cpp file an engine (engine_*.cpp)
// holds its writer and its reader; what each was read against is in docs/export.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "artifact/plan.hpp"
#include "core/model_shape.hpp"
#include "core/placement.hpp"
#include "core/result.hpp"
#include "core/topology.hpp"
#include "dispatch/dispatch.hpp"

namespace moesaic::artifact {

enum class Engine { kSglang, kTrtllm, kVllmEplb, kVllmAscend };
inline constexpr Engine kEngines[] = {Engine::kSglang, Engine::kTrtllm, Engine::kVllmEplb,
                                      Engine::kVllmAscend};

/// "sglang", "trtllm", "vllm-eplb", "vllm-ascend".
std::string_view name(Engine engine);
Result<Engine> parse_engine(std::string_view text);

/// How the engine picks a replica: the rule to score an exported plan under.
dispatch::Rule dispatch_rule(Engine engine);

struct Export {
  std::string bytes;                  ///< of the file
  std::string launch;                 ///< what to start the engine with; lines
  std::vector<std::string> warnings;  ///< full sentences
};

/// The plan as `engine` loads it; `file` is the path that the launch flags name. What was written is read
/// back by read_engine_file and compared before it is returned. Deterministic. O(layers x slots).
/// Errors (bad input): the engine cannot express the plan; the message says where and how to fix it.
Result<Export> export_plan(const Plan& plan, Engine engine, const std::string& file);

/// What a file tells `engine` to do. Strict: exactly the keys, layers and sizes that the engine needs for
/// `shape` on `topology`. Errors (bad input) name `where` and the key or line.
Result<Placement> read_engine_file(std::string_view text, Engine engine, const ModelShape& shape,
                                   const Topology& topology, const std::string& where);

}  // namespace moesaic::artifact
