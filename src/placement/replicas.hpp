// Experts with several copies. Which copy serves a row is a function of the row's class and of the parts
// that hold the expert, so an expert becomes one item a class, and all classes of an expert move together:
// Partition's exact gains carry over to every dispatch rule.
//
//   rule            class of a row            its copy
//   local, sglang   source GPU                on the source's node if any, else source mod n
//   vllm            position mod kOrdinals    ordinal mod n
//   trtllm, random  counter or hash, mod      ordinal mod n
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/random.hpp"
#include "placement/partition.hpp"
#include "placement/patterns_table.hpp"
#include "traffic/score.hpp"

namespace moesaic::placement {

/// Rows whose copy is chosen alike: on `source` if the expert is there, else copy number `number` mod n.
struct RowClass {
  static constexpr std::uint32_t kNoSource = 0xFFFFFFFF;
  std::uint32_t source = kNoSource;  ///< a part
  std::uint32_t number = 0;
};

/// Part that serves a row of the class. `parts` ascending (a part with two copies stands twice), not empty.
std::size_t serving_part(std::span<const std::uint16_t> parts, const RowClass& row_class);

/// Copy numbers told apart under rules that look at a counter: exact for 1, 2, 3, 4, 6 and 12 copies.
inline constexpr std::size_t kOrdinals = 12;

/// Classes of a rule at node level.
std::vector<RowClass> node_classes(const Topology& topology, dispatch::Rule rule);

/// As token_patterns(), but item = expert x classes + class of the row. Same thinning; the counters of
/// trtllm run over all tokens.
PatternTable class_patterns(const traffic::LayerTokens& tokens, const Topology& topology,
                            const traffic::Objective& objective, std::size_t experts,
                            const PatternOptions& options);

/// What a replica search works on. Items of `table` are expert x classes.size() + class.
struct ReplicaProblem {
  const PatternTable& table;
  std::size_t experts = 0;
  std::span<const RowClass> classes;
  std::size_t capacity = 0;       ///< slots a part; parts x capacity >= experts, all are filled
  std::size_t copies_a_part = 1;  ///< most copies of an expert on one part
  std::size_t copies = 0;         ///< most copies of an expert, but where slots stay empty; 0 = no bound
  /// [experts, parts] or empty: != 0 where a copy of the expert stays (pins.hpp); every start has it there.
  std::span<const std::uint8_t> pinned = {};
  std::span<const std::int64_t> load_of_item;  ///< [items]
  std::int64_t load_limit = 0;                 ///< most a part may carry
};

/// [experts]: the parts that hold each, ascending.
using Holders = std::vector<std::vector<std::uint16_t>>;

struct ReplicaOptions {
  std::size_t iterations = 600;  ///< compound moves
  std::size_t stale = 200;
};

/// What the search tracked for its answer.
struct ReplicaStats {
  std::int64_t cost = 0;    ///< equals replica_cost()
  std::int64_t excess = 0;  ///< load above the limit, summed over parts; 0 = the limit holds
};

/// Copies by demand: (expert, home part) pairs by descending rows, each taken while its part has room and
/// enough room stays for the experts without a copy (arXiv:2604.23150, section 4.2, with redundant copies).
Holders demand_holders(const ReplicaProblem& problem);

/// Fills every slot and returns the best of all starts. From a start (at least one part an expert,
/// capacities kept; room may be left) copies are added by the best exact marginal gain; then tabu search
/// over compound moves: a slot changes its expert, or two experts change places. The first half is chosen
/// by its exact gain plus the best gain of a partner, is carried out, and the second half is then chosen by
/// exact gain. Limits as in search_partition().
/// O(moves x (experts x parts^2 x classes + patterns of the experts moved x k)); deterministic.
Holders search_replicas(const ReplicaProblem& problem, std::span<const Holders> starts,
                        const ReplicaOptions& options, Pcg32& random, ReplicaStats* stats = nullptr);

/// Part that serves each item. O(items x copies).
std::vector<std::uint16_t> serving_parts(const ReplicaProblem& problem, const Holders& holders);
/// Copies sent under these holders, from nothing; the reference of the search. O(rows).
std::int64_t replica_cost(const ReplicaProblem& problem, const Holders& holders);

}  // namespace moesaic::placement
