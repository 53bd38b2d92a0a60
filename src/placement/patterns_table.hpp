// The planning tokens of a layer as distinct patterns: which items (experts) fire together, from which
// home part (node, or GPU of a node), how often. Connectivity - 1 depends on nothing else, so a search
// over patterns is exact and its cost follows the variety of a trace, not its length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/topology.hpp"
#include "traffic/tokens.hpp"

namespace moesaic::placement {

/// Hypergraph nets with a fixed vertex: pattern p = (items(p), home[p]) seen weight[p] times.
struct PatternTable {
  std::size_t item_count = 0;             ///< E
  std::size_t part_count = 0;             ///< homes are below it
  std::vector<std::uint32_t> offsets{0};  ///< [patterns + 1] into items
  std::vector<std::uint32_t> items;       ///< ascending and distinct within a pattern
  std::vector<std::uint16_t> home;        ///< [patterns]
  std::vector<std::uint32_t> weight;      ///< [patterns]

  std::size_t size() const { return home.size(); }
  std::span<const std::uint32_t> items_of(std::size_t pattern) const {
    return std::span(items).subspan(offsets[pattern], offsets[pattern + 1] - offsets[pattern]);
  }
};

/// Merges equal patterns as they are added (open addressing; patterns stay in order of first sight).
class PatternBuilder {
 public:
  PatternBuilder(std::size_t item_count, std::size_t part_count);
  /// REQUIRES: items ascending, distinct, below item_count; home < part_count. O(items) expected.
  /// An empty set is dropped: it costs nothing anywhere.
  void add(std::span<const std::uint32_t> items, std::size_t home, std::uint32_t weight);
  PatternTable take() { return std::move(table_); }

 private:
  void grow();

  PatternTable table_;
  std::vector<std::uint32_t> slots_;   ///< pattern + 1, 0 = free
  std::vector<std::uint64_t> hashes_;  ///< [patterns]
};

/// How tokens become patterns.
struct PatternOptions {
  bool single_rows = false;    ///< a pattern a row: the per-expert mode, where every row is its own copy
  std::size_t max_tokens = 0;  ///< thin evenly to at most so many tokens; 0 = all
  std::span<const std::uint32_t> weights = {};  ///< by segment: what a token of it counts; empty = 1
};

/// Patterns of a layer; the home is the GPU a token comes from. Missing experts are left out.
/// O(rows log k); deterministic.
PatternTable token_patterns(const traffic::LayerTokens& tokens, const Topology& topology, Attention attention,
                            std::size_t experts, const PatternOptions& options);

/// Names the item of a row: (expert, its request's segment, position in the request, source GPU). Called
/// once a recorded row, in token order, thinned tokens too; must rise with the expert.
using ItemOfRow = std::function<std::uint32_t(std::size_t expert, const traffic::Segment& segment,
                                              std::size_t position, std::size_t source)>;
/// As above with items named by `item_of`, below item_count.
PatternTable mapped_patterns(const traffic::LayerTokens& tokens, const Topology& topology,
                             Attention attention, std::size_t item_count, const PatternOptions& options,
                             const ItemOfRow& item_of);

inline constexpr std::uint32_t kLeftOut = 0xFFFFFFFF;

inline constexpr std::uint16_t kNoHome = 0xFFFF;

/// The table seen through maps: item i becomes new_item[i] (kLeftOut drops it), home h becomes
/// new_home[h] (kNoHome drops its patterns). Node level: items as they are, GPU -> node. Inside a node: its
/// experts numbered from 0, GPU -> index in its node, since a copy lands on the GPU with the home's local
/// index and the home's own GPU has that index too. REQUIRES: new_item keeps the order of the items it keeps.
PatternTable project(const PatternTable& table, std::span<const std::uint32_t> new_item,
                     std::size_t item_count, std::span<const std::uint16_t> new_home, std::size_t part_count);

/// Rows of every item, from the patterns.
std::vector<std::int64_t> item_rows(const PatternTable& table);

}  // namespace moesaic::placement
