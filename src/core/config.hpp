// A small YAML document as a tree of nodes that remember their line: the one reader of every file that
// people write by hand (models, clusters, gateways). A reader of a block names its keys with check_keys(),
// so that a misspelt key is an error and not a silent default. Anchors, aliases and tags are refused: a
// config needs none, and they are how a small file becomes a large one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"

namespace moesaic {

/// Every error is bad input and names the file, the line and the key. Getters whose name ends in _or give
/// `fallback` when the key is absent. Bounds are inclusive.
class ConfigNode {
 public:
  enum class Kind { kNull, kScalar, kSequence, kMapping };

  Kind kind() const { return kind_; }
  int line() const { return line_; }
  /// "cluster.yaml, line 7", for messages.
  std::string place() const;

  /// The node is a mapping without other keys than `known`.
  Status check_keys(std::initializer_list<std::string_view> known) const;
  /// Member of a mapping, or nullptr (also when this is no mapping).
  const ConfigNode* find(std::string_view key) const;
  Result<const ConfigNode*> at(std::string_view key) const;
  /// Members of a mapping in file order, items of a sequence; empty for other nodes.
  const std::vector<std::pair<std::string, ConfigNode>>& members() const { return members_; }
  const std::vector<ConfigNode>& items() const { return items_; }

  /// The items of a list, which may be empty; anything else is an error.
  Result<std::span<const ConfigNode>> list(std::string_view key) const;

  Result<std::string> text(std::string_view key) const;
  Result<std::string> text_or(std::string_view key, std::string fallback) const;
  Result<std::uint64_t> count(std::string_view key, std::uint64_t min, std::uint64_t max) const;
  Result<std::uint64_t> count_or(std::string_view key, std::uint64_t fallback, std::uint64_t min,
                                 std::uint64_t max) const;
  Result<double> number(std::string_view key, double min, double max) const;
  Result<double> number_or(std::string_view key, double fallback, double min, double max) const;
  Result<bool> flag_or(std::string_view key, bool fallback) const;
  /// "250ms": a decimal number and one of ns, us, ms, s, m, h; whole nanoseconds.
  Result<Nanoseconds> duration(std::string_view key, Nanoseconds min, Nanoseconds max) const;
  Result<Nanoseconds> duration_or(std::string_view key, Nanoseconds fallback, Nanoseconds min,
                                  Nanoseconds max) const;
  /// The place of the value in `choices`.
  Result<std::size_t> choice(std::string_view key, std::initializer_list<std::string_view> choices) const;
  Result<std::size_t> choice_or(std::string_view key, std::size_t fallback,
                                std::initializer_list<std::string_view> choices) const;

  /// This node itself, a scalar, as a whole number; `key` is for the message.
  Result<std::uint64_t> to_count(std::string_view key, std::uint64_t min, std::uint64_t max) const;
  Result<double> to_number(std::string_view key, double min, double max) const;
  Result<std::string> to_text(std::string_view key) const;

 private:
  friend class ConfigBuilder;

  tl::unexpected<Error> wrong(std::string_view key, std::string_view expected) const;

  Kind kind_ = Kind::kNull;
  int line_ = 0;
  std::shared_ptr<const std::string> file_;
  std::string scalar_;
  std::vector<ConfigNode> items_;
  std::vector<std::pair<std::string, ConfigNode>> members_;
};

/// Parses one document, a mapping at its top. `where` is the file's name for messages. Errors (bad input):
/// syntax, a key twice, anchors, aliases, tags, a second document, nesting deeper than
/// limits::kMaxJsonDepth, more than limits::kMaxConfigNodes nodes, more than limits::kMaxConfigBytes.
Result<ConfigNode> parse_config(std::string_view text, std::string where);

/// "250ms" -> 250'000'000 ns. Errors (bad input) quote the text.
Result<Nanoseconds> parse_duration(std::string_view text);

}  // namespace moesaic
