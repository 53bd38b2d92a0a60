#include "artifact/engine.hpp"

#include <fmt/format.h>

#include "artifact/engine_formats.hpp"
#include "core/check.hpp"

namespace moesaic::artifact {

std::string_view name(Engine engine) {
  switch (engine) {
    case Engine::kSglang:
      return "sglang";
    case Engine::kTrtllm:
      return "trtllm";
    case Engine::kVllmEplb:
      return "vllm-eplb";
    case Engine::kVllmAscend:
      break;
  }
  return "vllm-ascend";
}

Result<Engine> parse_engine(std::string_view text) {
  for (const Engine engine : kEngines) {
    if (text == name(engine)) return engine;
  }
  return bad_input(fmt::format("--to {}: expected sglang, trtllm, vllm-eplb or vllm-ascend", text));
}

dispatch::Rule dispatch_rule(Engine engine) {
  switch (engine) {
    case Engine::kSglang:
      return dispatch::Rule::kSglang;
    case Engine::kTrtllm:
      return dispatch::Rule::kTrtllm;
    case Engine::kVllmEplb:
    case Engine::kVllmAscend:
      break;
  }
  return dispatch::Rule::kVllm;
}

Result<Export> export_plan(const Plan& plan, Engine engine, const std::string& file) {
  const auto write = [&] {
    switch (engine) {
      case Engine::kSglang:
        return formats::write_sglang(plan, file);
      case Engine::kTrtllm:
        return formats::write_trtllm(plan, file);
      case Engine::kVllmEplb:
        return formats::write_vllm_eplb(plan, file);
      case Engine::kVllmAscend:
        break;
    }
    return formats::write_vllm_ascend(plan, file);
  };
  MOESAIC_ASSIGN(Export written, write());
  MOESAIC_ASSIGN(const Placement back,
                 read_engine_file(written.bytes, engine, plan.shape, plan.placement.topology(), file));
  MOESAIC_CHECK(back == plan.placement);
  return written;
}

Result<Placement> read_engine_file(std::string_view text, Engine engine, const ModelShape& shape,
                                   const Topology& topology, const std::string& where) {
  MOESAIC_TRY(validate(shape));
  MOESAIC_TRY(validate(topology));
  const formats::Target target{shape, topology, where};
  switch (engine) {
    case Engine::kSglang:
      return formats::read_sglang(text, target);
    case Engine::kTrtllm:
      return formats::read_trtllm(text, target);
    case Engine::kVllmEplb:
      return formats::read_vllm_eplb(text, target);
    case Engine::kVllmAscend:
      break;
  }
  return formats::read_vllm_ascend(text, target);
}

namespace formats {

Result<std::size_t> Target::slots_per_gpu(std::size_t slots, std::string_view key) const {
  const std::size_t gpus = topology.gpus();
  if (slots % gpus != 0 || slots < shape.experts) {
    return bad_input(
        fmt::format("{}: {}: found {} slots a layer, expected a multiple of {} GPUs and at least {} experts",
                    where, key, slots, gpus, shape.experts));
  }
  return slots / gpus;
}

Result<Placement> Target::placement(std::size_t slots_per_gpu, std::vector<ExpertId> slots) const {
  auto made = Placement::make(topology, shape.layers, shape.experts, slots_per_gpu, std::move(slots));
  if (!made) return bad_input(fmt::format("{}: {}", where, made.error().message));
  return made;
}

}  // namespace formats
}  // namespace moesaic::artifact
