#include "score_table.hpp"

#include <fmt/format.h>

namespace moesaic::app {

std::string shown_name(const std::string& name) {
  constexpr std::size_t kRoom = 22;  // what the other columns leave of 100
  const std::size_t at = name.find('@');
  if (name.size() <= kRoom || at == std::string::npos) return name;
  return name.substr(0, at + 1) + "\n" + name.substr(at + 1);
}

report::Table score_report(std::span<const planning::NamedScore> scores) {
  report::Table table({"placement", "dedup\nnode", "dedup\nGPU", "MB a\ntoken", "per-exp\nnode",
                       "node\nmax/mean", "GPU\nmax/mean", "GPU step\nmax/mean", "home\nmax/mean",
                       "Jain\nGPU"});
  for (const planning::NamedScore& named : scores) {
    const evaluate::Score& s = named.score;
    table.add({shown_name(named.name), report::number(s.dedup.node_copies_per_token_layer, 3),
               report::number(s.dedup.gpu_copies_per_token_layer, 3),
               report::number(s.dedup.inter_node_bytes_per_token / 1e6, 3),
               report::number(s.per_expert.node_copies_per_token_layer, 3),
               report::number(s.node_max_over_mean, 3), report::number(s.gpu_max_over_mean, 3),
               report::number(s.gpu_max_over_mean_step, 3), report::number(s.home_max_over_mean, 3),
               report::number(s.jain_gpu, 4)});
  }
  return table;
}

std::string score_table(std::span<const planning::NamedScore> scores) { return score_report(scores).text(); }

std::string score_legend(std::size_t nodes) {
  return fmt::format(
      "Copies are a token and layer: dedup = one a remote node (DeepEP normal), per-exp = one a row (low\n"
      "latency). MB a token: dedup, between nodes, all layers. Without an all-to-all backend every token\n"
      "goes to all: {} node copies whatever the plan.\n",
      nodes - 1);
}

void print_notes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes) fmt::print("note: {}\n", note);
}

}  // namespace moesaic::app
