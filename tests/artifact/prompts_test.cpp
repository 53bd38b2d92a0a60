#include "artifact/prompts.hpp"

#include "io/memory_files.hpp"

namespace moesaic::artifact {
namespace {

std::string refusal(std::string_view text) {
  const auto parsed = parse_prompts(text, "p.jsonl");
  return parsed ? std::string() : parsed.error().message;
}

TEST(Prompts, AreReadLineByLine) {
  const auto parsed = parse_prompts(
      "{\"id\":\"a/1\",\"text\":\"Wie spät?\\nZehn.\"}\r\n\n  \n{\"text\":\"\",\"id\":\"b\"}", "p.jsonl");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, (PromptTexts{{"a/1", "Wie spät?\nZehn."}, {"b", ""}}));
  EXPECT_TRUE(parse_prompts("", "p.jsonl")->empty());
}

TEST(Prompts, WhatIsNoPromptIsRefusedByLine) {
  EXPECT_NE(
      refusal("{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"a\"}").find("p.jsonl, line 2: expected {\"id\""),
      std::string::npos);
  EXPECT_NE(refusal("{\"id\":1,\"text\":\"x\"}").find("line 1"), std::string::npos);
  EXPECT_NE(refusal("{\"id\":\"a\",\"text\":\"x\",\"answer\":\"y\"}").find("nothing else"),
            std::string::npos);
  EXPECT_NE(refusal("[]").find("line 1"), std::string::npos);
  EXPECT_NE(refusal("{\"id\":\"a\",").find("line 1"), std::string::npos);
  EXPECT_EQ(refusal("{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"a\",\"text\":\"y\"}"),
            "p.jsonl, line 2: the id a stands twice; give each request one prompt.");
  io::MemoryFiles files;
  EXPECT_FALSE(read_prompts(files, "/none.jsonl"));
}

}  // namespace
}  // namespace moesaic::artifact
