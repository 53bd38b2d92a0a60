// Who foretells what served requests will activate has not learnt from them.
#include "simulate/learning.hpp"

#include <algorithm>

#include "recordings.hpp"

namespace moesaic::simulate {
namespace {

constexpr std::size_t kFolds = 4;

struct Halves {
  Recording training = recording_of(std::vector<std::uint32_t>(24, 30), 3, 16, 2, /*domains=*/4, /*seed=*/1);
  Recording served = recording_of(std::vector<std::uint32_t>(20, 30), 3, 16, 2, /*domains=*/4, /*seed=*/2);

  std::vector<float> foretold(std::size_t folds) const {
    ThreadPool pool(2);
    return foretell(fit_foretellers(training, served, folds, pool), served, pool);
  }
};

bool same(const std::vector<float>& a, const std::vector<float>& b, std::size_t request, std::size_t cells) {
  const auto first = static_cast<std::ptrdiff_t>(request * cells),
             end = first + static_cast<std::ptrdiff_t>(cells);
  return std::equal(a.begin() + first, a.begin() + end, b.begin() + first);
}

TEST(Foretellers, WhatARequestDecodesChangesWhatIsForetoldOfOtherFoldsAlone) {
  Halves halves;
  const std::vector<float> before = halves.foretold(kFolds);
  const std::size_t cells = halves.served.cells(), changed = 6;
  std::fill_n(halves.served.decode_shares.begin() + static_cast<std::ptrdiff_t>(changed * cells), cells,
              0.9f);
  const std::vector<float> after = halves.foretold(kFolds);
  for (std::size_t r = 0; r < halves.served.requests.size(); ++r)
    EXPECT_EQ(same(before, after, r, cells), r % kFolds == changed % kFolds) << r;
}

TEST(Foretellers, WithoutFoldsServedRequestsTeachNobody) {
  Halves halves;
  const std::vector<float> before = halves.foretold(0);
  std::ranges::fill(halves.served.decode_shares, 0.9f);
  EXPECT_EQ(halves.foretold(0), before);
  halves.training.decode_shares[5] = 0.9f;
  EXPECT_NE(halves.foretold(0), before);
}

TEST(Foretellers, MoreToLearnFromForetellsBetter) {
  const Halves halves;
  const auto error = [&](const std::vector<float>& foretold) {
    double sum = 0;
    for (std::size_t i = 0; i < foretold.size(); ++i) {
      const double off =
          static_cast<double>(foretold[i]) - static_cast<double>(halves.served.decode_shares[i]);
      sum += off * off;
    }
    return sum;
  };
  EXPECT_LT(error(halves.foretold(10)), error(halves.foretold(0)));
}

}  // namespace
}  // namespace moesaic::simulate
