#include "report/page.hpp"

#include <cmath>

#include "io/faulty_files.hpp"
#include "io/memory_files.hpp"
#include "report/page_template.hpp"

namespace moesaic::report {
namespace {

Page sample() {
  Page page{.title = "A </script><script>alert(1)</script> & <!-- title",
            .subtitle = {},
            .facts = {{"layers", "2"}},
            .summary = {{.title = "Load", .verdict = "even", .text = "1 ×", .mood = Finding::Mood::kGood}},
            .sections = {},
            .notes = {"none"}};
  Table table({"domain", "rows"});
  table.add({"]]></SCRIPT >", "1"});
  page.sections.push_back({.title = "S",
                           .paragraphs = {"p"},
                           .items = {Curves{.title = "c",
                                            .note = {},
                                            .x = {.name = "layer", .unit = "id"},
                                            .y = {.name = "load", .unit = "rows"},
                                            .at = {0, 1},
                                            .series = {{"a", {1, std::nan("")}}}},
                                     HeatMap{.title = "h",
                                             .note = {},
                                             .rows = {.name = "r", .unit = ""},
                                             .columns = {.name = "c", .unit = ""},
                                             .row_count = 1,
                                             .column_count = 3,
                                             .views = {{.name = "v",
                                                        .value = "load",
                                                        .unit = "×",
                                                        .scale = Scale::kRatio,
                                                        .values = {0, std::nan(""), 4}}}},
                                     PageTable{.title = "t", .note = {}, .table = table}}});
  return page;
}

TEST(Page, DataCannotEndTheScriptTheyAreIn) {
  const std::string text = script_safe(to_json(sample()));
  EXPECT_EQ(text.find_first_of("<>&"), std::string::npos);
  EXPECT_NE(text.find("\\u003c/script\\u003e"), std::string::npos);
}

RC_GTEST_PROP(Page, NoStringReachesThePageAsMarkup, (const std::string& title)) {
  Page page;
  page.title = title;
  RC_ASSERT(script_safe(to_json(page)).find_first_of("<>&") == std::string::npos);
}

TEST(Page, HeatMapsKeepValuesGapsAndTheLargest) {
  const Json data = to_json(sample());
  const Json& view = (*(*data.find("sections")->as_array())[0].find("items")->as_array())[1]
                         .find("views")
                         ->as_array()
                         ->front();
  // 0, no value, 65534 as little-endian 16-bit codes: 00 00 ff ff fe ff.
  EXPECT_EQ(*view.find("codes")->as_string(), "AAD///7/");
  double largest = 0;
  ASSERT_TRUE(view.find("largest")->to_double(largest));
  EXPECT_EQ(largest, 4);
  EXPECT_EQ(*view.find("scale")->as_string(), "ratio");
}

TEST(Page, CurvesKeepGapsAsNull) {
  const Json chart = to_json(std::get<Curves>(sample().sections[0].items[0]));
  EXPECT_EQ(chart.find("series")->as_array()->front().find("y")->dump(), "[1,null]");
}

TEST(Page, IsWrittenWholeOrSaysWhatIsMissing) {
  io::MemoryFiles files;
  const Status written = write(sample(), files, "p.html", false);
  if (page_template().empty()) {
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().kind, ErrorKind::kEnvironment);
    EXPECT_NE(written.error().message.find("npm"), std::string::npos);
    return;
  }
  ASSERT_TRUE(written) << written.error().message;
  const std::string text = *io::read_file(files, "p.html", 1 << 24);
  EXPECT_EQ(text.find(kDataMark), std::string::npos);
  EXPECT_NE(text.find("moesaic.page/1"), std::string::npos);
  EXPECT_EQ(text.find("<script>alert"), std::string::npos);
  EXPECT_FALSE(write(sample(), files, "p.html", false)) << "an existing file needs force";
  EXPECT_TRUE(write(sample(), files, "p.html", true));
}

}  // namespace
}  // namespace moesaic::report
