#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <istream>
#include <optional>
#include <streambuf>

#include "core/config.hpp"
#include "core/limits.hpp"

namespace moesaic {

/// Builds the tree from yaml-cpp's events, so that no alias is ever expanded. Errors leave as
/// YAML::ParserException and are caught in parse_config.
class ConfigBuilder final : public YAML::EventHandler {
 public:
  explicit ConfigBuilder(std::shared_ptr<const std::string> file) : file_(std::move(file)) {}

  std::optional<ConfigNode> take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(open(mark, ConfigNode::Kind::kNull, "", anchor), mark);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw YAML::ParserException(mark, "an alias is not allowed here, repeat the block instead");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    ConfigNode node = open(mark, ConfigNode::Kind::kScalar, tag, anchor);
    node.scalar_ = value;
    add(std::move(node), mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    push(open(mark, ConfigNode::Kind::kSequence, tag, anchor), mark);
  }
  void OnSequenceEnd() override { pop(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    push(open(mark, ConfigNode::Kind::kMapping, tag, anchor), mark);
  }
  void OnMapEnd() override { pop(); }

 private:
  struct Level {
    ConfigNode node;
    std::optional<std::string> key;  ///< of a mapping, when its value comes next
    YAML::Mark mark;
  };

  ConfigNode open(const YAML::Mark& mark, ConfigNode::Kind kind, const std::string& tag,
                  YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) throw YAML::ParserException(mark, "an anchor is not allowed here");
    if (!tag.empty() && tag != "?" && tag != "!")
      throw YAML::ParserException(mark, "a tag is not allowed here");
    if (++nodes_ > limits::kMaxConfigNodes) {
      throw YAML::ParserException(mark, fmt::format("more than {} values", limits::kMaxConfigNodes));
    }
    ConfigNode node;
    node.kind_ = kind;
    node.line_ = mark.line + 1;
    node.file_ = file_;
    return node;
  }

  void push(ConfigNode node, const YAML::Mark& mark) {
    if (levels_.size() >= limits::kMaxJsonDepth) {
      throw YAML::ParserException(mark, fmt::format("nesting deeper than {}", limits::kMaxJsonDepth));
    }
    levels_.push_back({std::move(node), {}, mark});
  }

  void pop() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    add(std::move(level.node), level.mark);
  }

  void add(ConfigNode node, const YAML::Mark& mark) {
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& parent = levels_.back();
    if (parent.node.kind_ == ConfigNode::Kind::kSequence) {
      parent.node.items_.push_back(std::move(node));
    } else if (parent.key) {
      parent.node.members_.emplace_back(std::move(*parent.key), std::move(node));
      parent.key.reset();
    } else {
      if (node.kind_ != ConfigNode::Kind::kScalar)
        throw YAML::ParserException(mark, "a key must be a plain text");
      if (parent.node.find(node.scalar_)) {
        throw YAML::ParserException(mark, fmt::format("key \"{}\" stands twice", node.scalar_));
      }
      parent.key = std::move(node.scalar_);
    }
  }

  std::shared_ptr<const std::string> file_;
  std::vector<Level> levels_;
  std::optional<ConfigNode> root_;
  std::size_t nodes_ = 0;
};

namespace {

/// Reads a string_view as a stream without copying it.
class ViewBuffer final : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // streambuf's get area is never written to
    setg(begin, begin, begin + text.size());
  }
};

}  // namespace

Result<ConfigNode> parse_config(std::string_view text, std::string where) {
  if (text.size() > limits::kMaxConfigBytes) {
    return bad_input(
        fmt::format("{}: {} bytes, expected at most {}", where, text.size(), limits::kMaxConfigBytes));
  }
  try {
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    ConfigBuilder builder(std::make_shared<const std::string>(where));
    parser.HandleNextDocument(builder);
    std::optional<ConfigNode> root = builder.take_root();
    if (!root || root->kind() != ConfigNode::Kind::kMapping) {
      return bad_input(fmt::format("{}: expected a YAML mapping of keys to values at the top", where));
    }
    ConfigBuilder rest(nullptr);
    if (parser.HandleNextDocument(rest)) {
      return bad_input(fmt::format("{}: a second YAML document follows the first, expected one", where));
    }
    return std::move(*root);
  } catch (const YAML::Exception& error) {
    return bad_input(fmt::format("{}, line {}: {}; expected YAML without anchors, aliases and tags", where,
                                 error.mark.line + 1, error.msg));
  }
}

}  // namespace moesaic
