#include "report/table.hpp"

#include <cmath>

namespace moesaic::report {
namespace {

TEST(Table, AlignsNumbersRightAndTextLeft) {
  Table table({"name", "node\ncopies"});
  table.add({"linear", "2.26"});
  table.add({"eplb", "-"});
  EXPECT_EQ(table.text(),
            "name      node\n"
            "        copies\n"
            "------  ------\n"
            "linear    2.26\n"
            "eplb         -\n");
}

TEST(Table, CutsTheWidestTextColumnToOneHundredColumns) {
  Table table({"a", "b"});
  table.add({std::string(90, 'x'), std::string(60, 'y')});
  const std::string text = table.text();
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    EXPECT_LE(end - begin, kMaxWidth);
    begin = end + 1;
  }
  EXPECT_NE(text.find("x..."), std::string::npos);
}

TEST(Table, CountsCharactersNotBytes) {
  Table table({"name", "unit"});
  table.add({"prefill–decode", "× mean"});
  table.add({"prefill-decode", "x mean"});
  EXPECT_EQ(table.text(),
            "name            unit\n"
            "--------------  ------\n"
            "prefill–decode  × mean\n"
            "prefill-decode  x mean\n");
  Table wide({"a"});
  std::string dots;
  for (int i = 0; i < 120; ++i) dots += "·";
  wide.add({dots});
  EXPECT_EQ(wide.text().substr(wide.text().size() - 6), "·...\n") << "a character is never cut in two";
}

TEST(Table, FormatsNumbersForPeople) {
  EXPECT_EQ(number(1.2345, 2), "1.23");
  EXPECT_EQ(number(std::nan(""), 2), "-");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(with_commas(12), "12");
  EXPECT_EQ(bytes(1536), "1.50 KiB");
  EXPECT_EQ(bytes(12), "12 B");
}

TEST(Table, ACellOfTwoLinesIsNotCut) {
  Table table({"placement", "copies"});
  table.add({"moesaic@\ntrtllm-cooccurrence", "1.449"});
  table.add({"linear", "2.259"});
  EXPECT_EQ(table.text(),
            "placement            copies\n"
            "-------------------  ------\n"
            "moesaic@              1.449\n"
            "trtllm-cooccurrence\n"
            "linear                2.259\n");
}

}  // namespace
}  // namespace moesaic::report
