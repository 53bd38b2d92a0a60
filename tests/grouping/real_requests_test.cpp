// Groups by activation patterns on a real trace: requests that were not clustered find homes whose past
// requests decode as they will.
#include "support/real_requests.hpp"
#include <numeric>

#include "core/random.hpp"
#include "core/selection.hpp"
#include "grouping/offline_homes.hpp"
#include "grouping/online_homes.hpp"
#include "grouping/patterns_groups.hpp"
#include "solve/sparse_rows.hpp"
#include "support/shared_data.hpp"

namespace moesaic::grouping {
namespace {

/// Some requests of a trace, halved: predicted from, and scored.
struct Half {
  std::vector<float> predict, decode;
  std::vector<std::int64_t> tokens, predicted_tokens;

  Half(const testing::RealRequests& requests, RequestSet set) {
    const std::size_t width = requests.layers * requests.experts;
    for (const std::uint32_t r : select_requests(requests.ids, requests.domains, set, 0)) {
      for (auto [from, to] : {std::pair(&requests.before, &predict), std::pair(&requests.after, &decode)}) {
        const auto row = std::span(*from).subspan(r * width, width);
        to->insert(to->end(), row.begin(), row.end());
      }
      tokens.push_back(requests.tokens[r]);
      predicted_tokens.push_back(std::max<std::int64_t>(1, requests.tokens[r] - 1));
    }
  }
};

TEST(RealRequests, UnseenRequestsJoinHomesThatDecodeAlike) {
  MOESAIC_NEEDS_SHARED("traces/gpt-oss-20b-decode/experts.u8.bin.xz");
  const auto requests = testing::gpt_oss_requests(0.5);
  const Half train(requests, RequestSet::kTrain), heldout(requests, RequestSet::kHeldout);
  ModelShape shape{.model = "", .model_layers = 24, .layers = {}, .experts = 32, .top_k = 4};
  for (std::uint16_t l = 0; l < 24; ++l) shape.layers.push_back(LayerId(l));
  ThreadPool pool(2);
  const auto groups = patterns_groups({.shape = shape,
                                       .predict = {24, 32, train.predict},
                                       .decode = {24, 32, train.decode},
                                       .tokens = train.tokens,
                                       .topology = {4, 2}},
                                      {.starts = 2}, pool);
  ASSERT_TRUE(groups);
  EXPECT_LE(groups->home_max_over_mean, 1.1);
  EXPECT_GE(groups->validation_accuracy, 0.5);  // of eight homes

  // Mean cosine of a request's decode to the decode of its home's past requests.
  const auto plain = signature::all_layers(shape, signature::Transform::kCount);
  const auto rows = [&](const std::vector<float>& counts) {
    return signature::signatures(plain, {24, 32, counts});
  };
  std::vector<std::uint32_t> home_of;
  for (const HomeId home : groups->homes.of_request)
    home_of.push_back(static_cast<std::uint32_t>(index(home)));
  const auto centroids = signature::mean_prototypes(rows(train.decode), home_of, 8);
  const auto decode = rows(heldout.decode);
  const auto likeness = [&](const Homes& homes) {
    double sum = 0;
    for (std::size_t i = 0; i < decode.rows(); ++i) {
      sum += solve::dot(decode.row(i), std::span(centroids).subspan(
                                           index(homes.of_request[i]) * plain.width(), plain.width()));
    }
    return sum / static_cast<double>(decode.rows());
  };
  const auto scores = signature::scores(groups->assigner, {24, 32, heldout.predict});
  const auto& shares = groups->assigner.capacities;
  std::vector<std::uint32_t> order(decode.rows());  // topics mixed, as they arrive in service
  std::iota(order.begin(), order.end(), 0u);
  Pcg32 random(0);
  shuffle(std::span(order), random);
  const auto place = [&](AssignMode mode) {
    return online_homes(scores, shares, heldout.predicted_tokens, heldout.tokens, order, {.mode = mode});
  };
  const auto online = place(AssignMode::kAfterPrefill), blind = place(AssignMode::kRandom);
  const auto offline = offline_homes(scores, shares, heldout.tokens, {});
  EXPECT_GE(likeness(online.homes), likeness(blind.homes) + 0.1);
  EXPECT_LE(likeness(online.homes), likeness(offline.homes) + 0.005);
  EXPECT_LE(online.mean_score, online.mean_best_score);
  EXPECT_LE(offline.home_max_over_mean, 1.1);
  EXPECT_LE(online.home_max_over_mean, 1.25);
}

}  // namespace
}  // namespace moesaic::grouping
