#include "core/selection.hpp"

#include <algorithm>
#include <numeric>

namespace moesaic {
namespace {

std::vector<std::string> some_ids(std::size_t n) {
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < n; ++i) ids.push_back("request-" + std::to_string(i));
  return ids;
}

TEST(Selection, HeldOutIsOneFifthOfAllAndOfEveryDomainToWithinOne) {
  const auto ids = some_ids(1003);
  std::vector<std::uint16_t> domains(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) domains[i] = static_cast<std::uint16_t>(i % 7);
  const auto heldout = heldout_split(ids, domains, 1);
  EXPECT_NEAR(static_cast<double>(std::ranges::count(heldout, true)), 1003 * kHeldoutShare, 1);
  for (std::uint16_t domain = 0; domain < 7; ++domain) {
    int size = 0, taken = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (domains[i] == domain) ++size, taken += heldout[i] ? 1 : 0;
    }
    EXPECT_NEAR(taken, size * kHeldoutShare, 1) << domain;
  }
}

TEST(Selection, TrainAndHeldOutPartAllRequestsAndSeedsDiffer) {
  const auto ids = some_ids(200);
  const std::vector<std::uint16_t> domains(ids.size());
  auto both = select_requests(ids, domains, RequestSet::kTrain, 3);
  const auto heldout = select_requests(ids, domains, RequestSet::kHeldout, 3);
  both.insert(both.end(), heldout.begin(), heldout.end());
  std::ranges::sort(both);
  EXPECT_EQ(both, select_requests(ids, domains, RequestSet::kAll, 3));
  EXPECT_NE(heldout, select_requests(ids, domains, RequestSet::kHeldout, 4));
}

TEST(Selection, ThinnedKeepsItsShareOfEveryDomainAndAllOfThemAtOne) {
  const auto ids = some_ids(400);
  std::vector<std::uint16_t> domains(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) domains[i] = static_cast<std::uint16_t>(i % 3);
  const auto train = select_requests(ids, domains, RequestSet::kTrain, 1);
  EXPECT_EQ(thinned(train, ids, domains, 1, 1.0), train);
  for (const double share : {0.1, 0.25, 0.3, 0.75}) {
    const auto kept = thinned(train, ids, domains, 1, share);
    EXPECT_TRUE(std::ranges::is_sorted(kept));
    EXPECT_TRUE(std::ranges::includes(train, kept));
    for (std::uint16_t domain = 0; domain < 3; ++domain) {
      const auto of_domain = [&](const auto& rows) {
        return static_cast<double>(
            std::ranges::count_if(rows, [&](std::uint32_t row) { return domains[row] == domain; }));
      };
      EXPECT_NEAR(of_domain(kept), share * of_domain(train), 1) << share << ' ' << domain;
    }
  }
  EXPECT_NE(thinned(train, ids, domains, 1, 0.25), thinned(train, ids, domains, 2, 0.25));
}

TEST(Selection, PredictFromReadsBackWhatItPrints) {
  for (const char* text : {"prefill", "fraction:0.5", "fraction:0.333,max:48"}) {
    const auto from = parse_predict_from(text);
    ASSERT_TRUE(from) << text;
    EXPECT_EQ(to_string(*from), text);
  }
  for (const char* text :
       {"", "half", "fraction:", "fraction:0", "fraction:1", "fraction:nan", "fraction:0.5,",
        "fraction:0.5,max:", "fraction:0.5,max:0", "fraction:0.5,max:3x"}) {
    EXPECT_FALSE(parse_predict_from(text)) << text;
  }
}

TEST(Selection, TokensPredictedFromAreNeverScored) {
  const PredictFrom half{.prefill = false, .fraction = 0.5};
  EXPECT_EQ(token_spans(10, 9, Phase::kDecode, half).predict_begin, 10u);
  EXPECT_EQ(token_spans(10, 9, Phase::kDecode, half).predict_end, 14u);
  EXPECT_EQ(token_spans(10, 9, Phase::kDecode, half).score_begin, 14u);
  EXPECT_EQ(token_spans(10, 9, Phase::kDecode, half).score_end, 19u);
  EXPECT_EQ(token_spans(10, 9, Phase::kDecode, {}).predict_end, 10u);
  EXPECT_EQ(token_spans(10, 9, Phase::kDecode, {}).score_begin, 10u);
  EXPECT_EQ(token_spans(10, 9, Phase::kAll, {}).predict_end, 0u);
  const PredictFrom third{.prefill = false, .fraction = 0.333, .max = 48};
  EXPECT_EQ(token_spans(0, 511, Phase::kDecode, third).predict_end, 48u);
  EXPECT_EQ(token_spans(0, 1, Phase::kDecode, half).predict_end, 0u);
  EXPECT_EQ(token_spans(0, 2, Phase::kDecode, half).predict_end, 1u);
}

}  // namespace
}  // namespace moesaic
