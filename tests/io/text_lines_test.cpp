#include "io/text_lines.hpp"

#include <string>

namespace moesaic::io {
namespace {

std::string read(std::string_view text) {
  std::string out;
  TextLines lines(text);
  while (const auto line = lines.next()) {
    out += std::to_string(line->number) + ":" + std::string(line->text) + (line->cut ? "|" : ";");
  }
  return out;
}

TEST(TextLines, AreNumberedWithBlankOnesLeftOut) { EXPECT_EQ(read("a\n\n \t\r\nb c\n"), "1:a;4:b c;"); }

TEST(TextLines, ALastOneWithoutALineFeedIsCut) {
  EXPECT_EQ(read("a\nb"), "1:a;2:b|");
  EXPECT_EQ(read("a\n  "), "1:a;");
}

TEST(TextLines, NothingHasNone) { EXPECT_EQ(read(""), ""); }

}  // namespace
}  // namespace moesaic::io
