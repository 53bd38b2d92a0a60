// The objective once more, written straight from its definition (docs/objective.md), slow and sharing no
// code with src/traffic or src/dispatch: what they are tested against.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace moesaic::testing {

struct OracleRequest {
  std::uint32_t id = 0;
  int home = 0;  ///< GPU (dp) or node (tp)
  std::uint64_t first_position = 0;
  std::vector<std::vector<int>> tokens;  ///< experts of each token; -1 = missing
};

struct OracleCase {
  int nodes = 1, gpus_per_node = 1, slots_per_gpu = 1, experts = 1, layer = 0;
  std::uint64_t seed = 0;
  bool tensor_parallel = false;
  std::string rule;
  int requests_per_home = 1;
  std::vector<int> slots;
  std::vector<OracleRequest> requests;
};

struct OracleResult {
  std::int64_t dedup_node = 0, dedup_gpu = 0, dedup_padded = 0;
  std::int64_t per_expert_node = 0, per_expert_gpu = 0, per_expert_padded = 0;
  std::vector<std::int64_t> gpu_rows;
  std::int64_t activated = 0;
};

OracleResult traffic_oracle(const OracleCase& c);

}  // namespace moesaic::testing
