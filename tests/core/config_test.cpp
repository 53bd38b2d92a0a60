#include "core/config.hpp"

#include "core/limits.hpp"

namespace moesaic {
namespace {

using namespace std::chrono_literals;

ConfigNode parsed(std::string_view text) {
  auto node = parse_config(text, "file.yaml");
  EXPECT_TRUE(node) << (node ? "" : node.error().message);
  return node ? *node : ConfigNode{};
}

template <class T>
void expect_error(const Result<T>& result, const std::string& part) {
  ASSERT_FALSE(result) << part;
  EXPECT_EQ(result.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

TEST(Config, ReadsEveryKindOfValue) {
  const ConfigNode root = parsed(
      "name: a model\nlayers: 48\nshare: 0.25\non: true\nafter: 250ms\nrule: vllm\n"
      "list: [1, 2, 3]\nblock:\n  inner: 7\nnothing:\n");
  EXPECT_EQ(*root.text("name"), "a model");
  EXPECT_EQ(*root.count("layers", 1, 100), 48u);
  EXPECT_EQ(*root.number("share", 0, 1), 0.25);
  EXPECT_TRUE(*root.flag_or("on", false));
  EXPECT_EQ(*root.duration("after", 0ns, 1s), 250ms);
  EXPECT_EQ(*root.choice("rule", {"local", "vllm"}), 1u);
  ASSERT_EQ(root.list("list")->size(), 3u);
  EXPECT_EQ(*root.find("list")->items()[2].to_count("list", 0, 9), 3u);
  EXPECT_EQ(*root.find("block")->count("inner", 0, 9), 7u);
  EXPECT_EQ(root.find("block")->find("inner")->line(), 9);
  EXPECT_EQ(root.find("nothing")->kind(), ConfigNode::Kind::kNull);
  EXPECT_EQ(root.members().size(), 9u);
}

TEST(Config, AbsentKeysGiveTheirFallback) {
  const ConfigNode root = parsed("a: 1");
  EXPECT_EQ(*root.count_or("b", 5, 0, 9), 5u);
  EXPECT_EQ(*root.number_or("b", 0.5, 0, 1), 0.5);
  EXPECT_EQ(*root.text_or("b", "x"), "x");
  EXPECT_TRUE(*root.flag_or("b", true));
  EXPECT_EQ(*root.duration_or("b", 3s, 0s, 9s), 3s);
  EXPECT_EQ(*root.choice_or("b", 1, {"p", "q"}), 1u);
}

TEST(Config, ErrorsNameFileLineKeyFoundAndExpected) {
  const ConfigNode root = parsed("a: 1\nb: many\nc: -1\nd: [1]\ne: 12 parsecs\nf: maybe\n");
  expect_error(root.count("b", 0, 9),
               "file.yaml, line 2: b is \"many\", expected a whole number from 0 to 9");
  expect_error(root.count("c", 0, 9), "line 3");
  expect_error(root.count("a", 2, 9), "from 2 to 9");
  expect_error(root.number("b", 0, 1), "a number from 0 to 1");
  expect_error(root.text("d"), "d is a list, expected a text");
  expect_error(root.list("a"), "line 1: a is \"1\", expected a list");
  expect_error(root.duration("e", 0s, 1s), "line 5");
  expect_error(root.duration("d", 0s, 1s), "a duration");
  expect_error(root.flag_or("f", true), "one of false, true");
  expect_error(root.count("missing", 0, 9), "key \"missing\" is missing");
  expect_error(root.check_keys({"a", "b", "c", "d", "e"}),
               "line 6: unknown key \"f\", expected one of: a, b");
  EXPECT_TRUE(root.check_keys({"a", "b", "c", "d", "e", "f"}));
  expect_error(root.find("a")->check_keys({"x"}), "expected a mapping");
}

TEST(Config, RefusesWhatAConfigNeedsNot) {
  expect_error(parse_config("a: &x 1\nb: *x\n", "f"), "anchor");
  expect_error(parse_config("a: *x\n", "f"), "f, line 1");
  expect_error(parse_config("a: !!python/object x\n", "f"), "tag");
  expect_error(parse_config("a: 1\na: 2\n", "f"), "key \"a\" stands twice");
  expect_error(parse_config("a: 1\n---\nb: 2\n", "f"), "second YAML document");
  expect_error(parse_config("? [a, b]\n: 1\n", "f"), "a key must be a plain text");
  expect_error(parse_config("a: [1, 2\n", "f"), "f, line");
  for (const char* text : {"", "- 1\n- 2\n", "just text", "# only a comment\n"}) {
    expect_error(parse_config(text, "f"), "mapping");
  }
  expect_error(parse_config("a: " + std::string(200, '[') + std::string(200, ']'), "f"), "nesting deeper");
  expect_error(parse_config("a: " + std::string(200'000, '['), "f"), "f, line");
  expect_error(parse_config(std::string(limits::kMaxConfigBytes + 1, ' '), "f"), "bytes");
}

TEST(Config, DurationsAreExactToTheNanosecond) {
  EXPECT_EQ(*parse_duration("250ms"), 250ms);
  EXPECT_EQ(*parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(*parse_duration("0ns"), 0ns);
  EXPECT_EQ(*parse_duration("2h"), 2h);
  EXPECT_EQ(*parse_duration("90m"), 90min);
  EXPECT_EQ(*parse_duration("0.000000001s"), 1ns);
  for (const char* text :
       {"", "5", "ms", ".5s", "5.s", "-1s", "1 s", "1.2.3s", "99999999999s", "1d", "1e3s", "999999999h"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

RC_GTEST_PROP(Config, AnyBytesParseOrFailWithASentence, (const std::string& text)) {
  const auto node = parse_config(text, "f");
  if (!node) RC_ASSERT(node.error().message.starts_with("f"));
}

}  // namespace
}  // namespace moesaic
