#include "io/base64.hpp"

namespace moesaic::io {
namespace {

std::string decode(const std::string& text) {
  const auto bytes = decode_base64(text, "reply", 100);
  if (!bytes) return "error: " + bytes.error().message;
  return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
}

TEST(Base64, DecodesTheExamplesOfTheRfc) {
  EXPECT_EQ(decode(""), "");
  EXPECT_EQ(decode("Zg=="), "f");
  EXPECT_EQ(decode("Zm8="), "fo");
  EXPECT_EQ(decode("Zm9v"), "foo");
  EXPECT_EQ(decode("Zm9vYmFy"), "foobar");
}

TEST(Base64, RefusesEveryOtherForm) {
  for (const char* text : {"Z", "Zg", "Zg=", "=", "====", "Z===", "Zg==Zg==", "Zm9v\n", "Zm-v", "Zm_v",
                           "Zh==", "Zm9=", "Z=g=", " Zg=="}) {
    EXPECT_TRUE(decode(text).starts_with("error: reply: ")) << text;
  }
  EXPECT_FALSE(decode_base64("Zm9vYmFy", "reply", 5));
  EXPECT_NE(decode("Zm-v").find("byte 2"), std::string::npos);
}

RC_GTEST_PROP(Base64, DecodingUndoesEncoding, (const std::string& text)) {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  const auto back = decode_base64(encode_base64(bytes), "x", text.size());
  RC_ASSERT(back && std::ranges::equal(*back, bytes));
}

}  // namespace
}  // namespace moesaic::io
