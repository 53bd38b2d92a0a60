#include "protocol/prompt_text.hpp"

#include "core/json.hpp"
#include "core/random.hpp"

namespace moesaic::protocol {
namespace {

constexpr std::size_t kAll = 1 << 20;

TEST(PromptText, ATextGivesItselfWithoutEscapes) {
  EXPECT_EQ(prompt_text(R"("hello")", kAll), "hello");
  EXPECT_EQ(prompt_text(R"("a\n\t\"b\" \\ \/ \u00e9 \ud83d\ude00")", kAll),
            "a\n\t\"b\" \\ / \u00e9 \U0001F600");
  EXPECT_EQ(prompt_text(R"("")", kAll), "");
}

TEST(PromptText, MessagesGiveTheirContentsInOrder) {
  EXPECT_EQ(prompt_text(R"([{"role":"system","content":"be brief"}, {"content":"hi", "role":"user"}])", kAll),
            "be brief\nhi");
  EXPECT_EQ(prompt_text(R"([{"role":"user","content":[{"type":"text","text":"what is this?"},
                          {"type":"image_url","image_url":{"url":"data:AAAA\"content\":\"no\\"}}]}])",
                        kAll),
            "what is this?");
  EXPECT_EQ(prompt_text(R"([{"role":"assistant","content":null,"tool_calls":[{"id":"c","function":
                          {"name":"f","arguments":"{\"content\":\"no\"}"}}]},{"role":"tool","content":"4"}])",
                        kAll),
            "4");
}

TEST(PromptText, ListsOfTextsAreJoinedAndTokenIdsGiveNothing) {
  EXPECT_EQ(prompt_text(R"(["a", "b"])", kAll), "a\nb");
  EXPECT_EQ(prompt_text("[1, 2, 3]", kAll), "");
  EXPECT_EQ(prompt_text("[[1, 2], [3]]", kAll), "");
}

TEST(PromptText, StopsAtTheBoundWhateverFollows) {
  EXPECT_EQ(prompt_text(R"("hello, and this is never)", 5), "hello");
  EXPECT_EQ(prompt_text(R"([{"content":"abc"},{"content":"def"}])", 5), "abc\nd");
  EXPECT_EQ(prompt_text(R"("\u20ac")", 2).size(), 2u);
  EXPECT_EQ(prompt_text(R"("abc")", 0), "");
}

/// What prompt_text() must find, by the JSON library's own reading.
void collect(const Json& json, bool wanted, std::string& out) {
  if (const std::string* text = json.as_string()) {
    if (wanted) out += (out.empty() ? "" : "\n") + *text;
  } else if (const Json::Array* list = json.as_array()) {
    for (const Json& item : *list) collect(item, wanted, out);
  } else if (const Json::Object* object = json.as_object()) {
    for (const auto& [key, value] : *object) collect(value, key == "content" || key == "text", out);
  }
}

TEST(PromptText, AgreesWithAParserOnRandomMessages) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Pcg32 random(seed);
    const auto words = [&] {
      std::string text;
      for (std::uint32_t i = random.below(12); i-- > 0;) {
        static const std::vector<std::string> kParts = {"a", "\"", "\\", "\n",      "\u00fc",
                                                        "{", "]",  ",",  "content", "\x01"};
        text += kParts[random.below(static_cast<std::uint32_t>(kParts.size()))];
      }
      return "w" + text;  // an empty text adds no newline of its own to what is empty before it
    };
    Json messages(Json::Array{});
    for (std::uint32_t m = random.below(5); m-- > 0;) {
      Json message;
      message["role"] = words();
      if (random.below(2) == 0) {
        message["content"] = words();
      } else {
        Json part, image;
        part["text"] = words();
        part["type"] = "text";
        image["image_url"]["url"] = words();
        message["content"].push_back(part);
        message["content"].push_back(image);
      }
      messages.push_back(message);
    }
    std::string expected;
    collect(messages, true, expected);
    const std::string json = messages.dump();
    EXPECT_EQ(prompt_text(json, kAll), expected) << json;
    // Cut or damaged anywhere it stays inside its bytes (a sanitizer's run sees that) and its bound.
    std::string hurt = json.substr(0, random.below(static_cast<std::uint32_t>(json.size() + 1)));
    if (!hurt.empty())
      hurt[random.below(static_cast<std::uint32_t>(hurt.size()))] = static_cast<char>(random.below(256));
    EXPECT_LE(prompt_text(hurt, 7).size(), 7u);
  }
}

}  // namespace
}  // namespace moesaic::protocol
