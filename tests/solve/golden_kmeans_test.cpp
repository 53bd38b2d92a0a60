// Balanced K-means on the signatures of real requests, from given seeds, against the objectives that an
// independent implementation with an exact assignment reached.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "io/json.hpp"
#include "solve/balanced_kmeans.hpp"
#include "support/shared_data.hpp"

namespace moesaic::solve {
namespace {

constexpr std::size_t kLayers = 24, kExperts = 32, kTopK = 4;

Json read_shared_json(const std::string& path) {
  std::ifstream in(testing::shared_data(path));
  std::stringstream text;
  text << in.rdbuf();
  auto json = io::parse_json(text.str(), path);
  return json ? *json : Json();
}

std::string unpacked(const std::string& path) {
  std::string bytes;
  std::FILE* pipe = popen(("xz -dc '" + path + "'").c_str(), "r");
  if (pipe == nullptr) return bytes;
  std::vector<char> buffer(1 << 20);
  for (std::size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    bytes.append(buffer.data(), n);
  pclose(pipe);
  return bytes;
}

std::uint64_t number(const Json& json, const char* key) {
  std::uint64_t value = 0;
  const Json* member = json.find(key);
  EXPECT_TRUE(member != nullptr && member->to_uint(value)) << key;
  return value;
}

SparseRows gpt_oss_signatures() {
  const Json index = read_shared_json("traces/gpt-oss-20b-decode/index.json");
  const std::string experts = unpacked(testing::shared_data("traces/gpt-oss-20b-decode/experts.u8.bin.xz"));
  SparseRows rows{.width = kLayers * kExperts};
  for (const Json& request : *index.find("requests")->as_array()) {
    std::vector<float> counts(rows.width);
    const std::size_t first = number(request, "start"), tokens = number(request, "n");
    for (std::size_t t = first; t < first + tokens; ++t) {
      for (std::size_t layer = 0; layer < kLayers; ++layer) {
        for (std::size_t j = 0; j < kTopK; ++j) {
          const char id = experts.at((t * kLayers + layer) * kTopK + j);
          ++counts[layer * kExperts + static_cast<unsigned char>(id)];
        }
      }
    }
    rows.append(counts);
  }
  normalise(rows);
  return rows;
}

TEST(GoldenKmeans, ReachesTheReferenceObjectiveFromEverySetOfSeeds) {
  MOESAIC_NEEDS_SHARED("golden/balanced-kmeans/reference.json");
  MOESAIC_NEEDS_SHARED("traces/gpt-oss-20b-decode/experts.u8.bin.xz");
  const Json reference = read_shared_json("golden/balanced-kmeans/reference.json");
  const SparseRows items = gpt_oss_signatures();
  ASSERT_EQ(items.rows(), 562u);
  ThreadPool pool(2);
  for (const Json& golden : *reference.find("cases")->as_array()) {
    const std::size_t k = number(golden, "k");
    KmeansOptions options{.clusters = k};
    options.capacities.assign(k, static_cast<std::int64_t>(number(golden, "capacity")));
    for (const Json& seed : *golden.find("seed_requests")->as_array()) {
      std::uint64_t request = 0;
      ASSERT_TRUE(seed.to_uint(request));
      std::vector<float> centroid(items.width);
      const SparseRows::Row row = items.row(request);
      for (std::size_t i = 0; i < row.column.size(); ++i) centroid[row.column[i]] = row.value[i];
      options.initial.insert(options.initial.end(), centroid.begin(), centroid.end());
    }
    double expected = 0;
    ASSERT_TRUE(golden.find("objective")->to_double(expected));
    const auto result = kmeans(items, options, pool);
    ASSERT_TRUE(result);
    EXPECT_LE(result->objective, expected * 1.000001) << "K = " << k;
  }
}

}  // namespace
}  // namespace moesaic::solve
