// Balanced K-means on the signatures of real requests, from given seeds, against the objectives that an
// independent implementation with an exact assignment reached.
#include "io/json.hpp"
#include "solve/balanced_kmeans.hpp"
#include "support/real_requests.hpp"
#include "support/shared_data.hpp"

namespace moesaic::solve {
namespace {

std::uint64_t number(const Json& json, const char* key) {
  std::uint64_t value = 0;
  const Json* member = json.find(key);
  EXPECT_TRUE(member != nullptr && member->to_uint(value)) << key;
  return value;
}

TEST(GoldenKmeans, ReachesTheReferenceObjectiveFromEverySetOfSeeds) {
  MOESAIC_NEEDS_SHARED("golden/balanced-kmeans/reference.json");
  MOESAIC_NEEDS_SHARED("traces/gpt-oss-20b-decode/experts.u8.bin.xz");
  const auto reference =
      io::read_json(io::real_files(), testing::shared_data("golden/balanced-kmeans/reference.json"));
  ASSERT_TRUE(reference) << reference.error().message;
  const auto requests = testing::gpt_oss_requests(0);
  SparseRows items = sparse_rows(requests.after, requests.layers * requests.experts);
  normalise(items);
  ASSERT_EQ(items.rows(), 562u);
  ThreadPool pool(2);
  for (const Json& golden : *reference->find("cases")->as_array()) {
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
