// The writers and readers behind engine.hpp, one pair an engine.
#pragma once

#include <string>
#include <string_view>

#include "artifact/engine.hpp"

namespace moesaic::artifact::formats {

/// What a reader knows beforehand, and the parts that readers share.
struct Target {
  const ModelShape& shape;
  const Topology& topology;
  const std::string& where;

  /// P from a row's length. Errors: not a multiple of the GPUs, fewer than the experts.
  Result<std::size_t> slots_per_gpu(std::size_t slots, std::string_view key) const;
  /// Placement::make with `where` before its errors.
  Result<Placement> placement(std::size_t slots_per_gpu, std::vector<ExpertId> slots) const;
};

Result<Export> write_sglang(const Plan& plan, const std::string& file);
Result<Placement> read_sglang(std::string_view text, const Target& target);
Result<Export> write_trtllm(const Plan& plan, const std::string& file);
Result<Placement> read_trtllm(std::string_view text, const Target& target);
Result<Export> write_vllm_eplb(const Plan& plan, const std::string& file);
Result<Placement> read_vllm_eplb(std::string_view text, const Target& target);
Result<Export> write_vllm_ascend(const Plan& plan, const std::string& file);
Result<Placement> read_vllm_ascend(std::string_view text, const Target& target);

}  // namespace moesaic::artifact::formats
