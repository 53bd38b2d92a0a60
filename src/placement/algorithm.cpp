#include "placement/algorithm.hpp"

#include <fmt/format.h>

#include <array>

#include "placement/algorithms.hpp"

namespace moesaic::placement {

std::span<const Algorithm* const> algorithms() {
  static const std::array kAll = {&linear(),
                                  &round_robin(),
                                  &random_placement(),
                                  &eplb_algorithm(),
                                  &deepseek_vec_algorithm(),
                                  &trtllm_algorithm(),
                                  &vllm_eplb(),
                                  &swift(),
                                  &trtllm_cooccurrence(),
                                  &greedy_coactivation(),
                                  &metis(),
                                  &tacg(),
                                  &patterns(),
                                  &moesaic()};
  return kAll;
}

Result<const Algorithm*> find_algorithm(std::string_view name) {
  std::string names;
  for (const Algorithm* algorithm : algorithms()) {
    if (algorithm->name() == name) return algorithm;
    names += names.empty() ? "" : ", ";
    names += algorithm->name();
  }
  return bad_input(fmt::format("--algorithm {}: expected one of {}", name, names));
}

}  // namespace moesaic::placement
