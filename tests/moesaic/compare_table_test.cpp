// What `compare` prints fits a terminal, however long the names are.
#include <algorithm>
#include <sstream>

#include "placement/algorithm.hpp"
#include "support/paths.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic {
namespace {

using testing::run_moesaic;

TEST(CompareTable, HoldsTheLongestNamesWhole) {
  std::string longest;
  for (const placement::Algorithm* algorithm : placement::algorithms()) {
    if (algorithm->name().size() > longest.size()) longest = algorithm->name();
  }
  const testing::TemporaryFolder folder;
  const auto imported =
      run_moesaic({"import", testing::source_path("samples/moesaic-mini"), "-o", folder / "t.zarr"});
  ASSERT_EQ(imported.exit_code, 0) << imported.err;
  const std::vector<std::string> words = {
      "compare", folder / "t.zarr", "--nodes", "2",  "--gpus-per-node",
      "2",       "--splits",        "1",       "-a", longest + "@" + longest + ",moesaic@coactivation"};
  for (const bool across : {false, true}) {
    std::vector<std::string> asked = words;
    if (across) asked.push_back("--across");
    const auto compared = run_moesaic(asked);
    ASSERT_EQ(compared.exit_code, 0) << compared.err;
    std::vector<std::string> firsts;  // words of the lines
    std::istringstream lines(compared.out);
    for (std::string line; std::getline(lines, line);) {
      // The first line names the store's path.
      EXPECT_TRUE(firsts.empty() || line.size() <= 100) << line;
      firsts.push_back(line.substr(0, line.find(' ')));
    }
    const auto broken = std::ranges::find(firsts, longest + "@");
    ASSERT_NE(broken, firsts.end()) << compared.out;
    EXPECT_EQ(broken[1], longest);
    EXPECT_NE(std::ranges::find(firsts, "moesaic@coactivation"), firsts.end()) << compared.out;
  }
}

}  // namespace
}  // namespace moesaic
