#include "signature/dot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace moesaic::signature {
namespace {

RC_GTEST_PROP(Dot, VectorAndScalarFormsGiveTheSameBits, ()) {
  const auto size = *rc::gen::inRange<std::size_t>(0, 200);
  const auto number =
      rc::gen::map(rc::gen::inRange(-10'000, 10'000), [](int n) { return static_cast<float>(n) / 777; });
  const auto a = *rc::gen::container<std::vector<float>>(size, number);
  const auto b = *rc::gen::container<std::vector<float>>(size, number);
  const float fast = dot(a, b), plain = dot_scalar(a, b);
  RC_ASSERT(std::memcmp(&fast, &plain, sizeof fast) == 0);
  double exact = 0, size_of_terms = 0;
  for (std::size_t i = 0; i < size; ++i) {
    exact += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    size_of_terms += std::abs(static_cast<double>(a[i]) * static_cast<double>(b[i]));
  }
  RC_ASSERT(std::abs(static_cast<double>(fast) - exact) <= 1e-6 * size_of_terms);
}

RC_GTEST_PROP(AddRowsAndBlend, EveryElementIsTheSameWhereverItStands, ()) {
  const auto size = *rc::gen::inRange<std::size_t>(1, 30);
  const auto number =
      rc::gen::map(rc::gen::inRange(-1000, 1000), [](int n) { return static_cast<float>(n) / 1001; });
  const auto own = *rc::gen::container<std::vector<float>>(size, number);
  const auto base = *rc::gen::container<std::vector<float>>(size, number);
  const auto first = *rc::gen::container<std::vector<float>>(size, number);
  const auto last = *rc::gen::container<std::vector<float>>(size, number);
  const float scale = 4 * *number, rest = *number;
  std::array<float, kRowsAtOnce> weights{};
  weights.front() = *number;
  weights.back() = *number;
  const auto at = [&](std::size_t from, std::span<float> out) {
    std::copy_n(base.begin() + static_cast<std::ptrdiff_t>(from), out.size(), out.begin());
    std::array<const float*, kRowsAtOnce> rows;
    rows.fill(&first[from]);
    rows.back() = &last[from];
    add_rows(out, rows, weights);
    blend(out, own.data() + from, scale, rest);
  };
  std::vector<float> whole(size), single(size);
  at(0, whole);
  for (std::size_t i = 0; i < size; ++i) {
    at(i, std::span(single).subspan(i, 1));  // too short for a vector register: the scalar form
    RC_ASSERT(std::memcmp(&whole[i], &single[i], sizeof(float)) == 0);
    const auto wide = [](float x) { return static_cast<double>(x); };
    const double sum =
        wide(base[i]) + wide(first[i]) * wide(weights.front()) + wide(last[i]) * wide(weights.back());
    const double exact = wide(own[i]) * wide(scale) + sum * wide(rest);
    RC_ASSERT(std::abs(wide(whole[i]) - std::clamp(exact, 0.0, 1.0)) < 1e-5);
  }
}

RC_GTEST_PROP(RowKernels, TheWideFormsGiveTheSameBits, ()) {
  const RowKernels* const wide = avx2_kernels();
  if (wide == nullptr) return;
  const RowKernels& plain = portable_kernels();
  const std::size_t size = 32 * (1 + *rc::gen::inRange<std::size_t>(0, 6));  // whole vectors of both
  const auto number =
      rc::gen::map(rc::gen::inRange(-10'000, 10'000), [](int n) { return static_cast<float>(n) / 777; });
  const auto a = *rc::gen::container<std::vector<float>>(size, number);
  const auto b = *rc::gen::container<std::vector<float>>(size, number);
  const auto units = *rc::gen::container<std::vector<std::int32_t>>(size, rc::gen::inRange(0, 200'000));
  const float scale = *number, rest = *number;
  const auto of = [&](const RowKernels& kernels) {
    std::array<float, kDotSums> sums{};
    EXPECT_EQ(kernels.dot(a.data(), b.data(), size, sums), size);
    std::vector<float> out(sums.begin(), sums.end()), row = a, rates = b;
    EXPECT_EQ(
        kernels.add_rows(row.data(), {a.data(), b.data(), a.data(), b.data()}, {scale, rest, 1, scale}, size),
        size);
    out.insert(out.end(), row.begin(), row.end());
    EXPECT_EQ(kernels.blend(row.data(), b.data(), scale / 20, rest / 20, size), size);
    out.insert(out.end(), row.begin(), row.end());
    for (float& rate : rates) rate = std::abs(rate);
    EXPECT_EQ(kernels.decay(row.data(), units.data(), 1.0f / 1024, rates.data(), 0.125f, size), size);
    out.insert(out.end(), row.begin(), row.end());
    EXPECT_EQ(kernels.roots(row.data(), a.data(), scale, rest, size), size);
    out.insert(out.end(), row.begin(), row.end());
    return out;
  };
  const std::vector<float> one = of(plain), other = of(*wide);
  RC_ASSERT(std::memcmp(one.data(), other.data(), one.size() * sizeof(float)) == 0);
}

RC_GTEST_PROP(Decay, IsTheExponentialWhereverItStands, ()) {
  const auto size = *rc::gen::inRange<std::size_t>(1, 40);
  const auto units = *rc::gen::container<std::vector<std::int32_t>>(size, rc::gen::inRange(0, 100'000));
  const auto rates = *rc::gen::container<std::vector<float>>(
      size, rc::gen::map(rc::gen::inRange(0, 1000), [](int n) { return static_cast<float>(n) / 10; }));
  std::vector<float> whole(size);
  decay(whole, units, 1.0f / 1024, rates, 0.25f);
  for (std::size_t i = 0; i < size; ++i) {
    float single = 0;
    decay({&single, 1}, std::span(units).subspan(i, 1), 1.0f / 1024, std::span(rates).subspan(i, 1), 0.25f);
    RC_ASSERT(single == whole[i]);
    const double exponent = units[i] / 1024.0 + static_cast<double>(rates[i]) * 0.25;
    if (exponent > 86) {
      RC_ASSERT(whole[i] > 0 && whole[i] < 1e-36f);
      continue;
    }
    const double error = 3e-7 + 1.2e-7 * exponent, exact = std::exp(-exponent);
    RC_ASSERT(std::abs(static_cast<double>(whole[i]) - exact) <= error * exact);
  }
  float at_zero = 0;
  const std::int32_t none = 0;
  const float nothing = 0;
  decay({&at_zero, 1}, {&none, 1}, 1, {&nothing, 1}, 1);
  RC_ASSERT(at_zero == 1);
}

TEST(Roots, AreThoseOfWhatIsNotBelowZero) {
  const std::vector<float> in = {0, 4, -1, 2, NAN, 0.5f, 9, -0.0f, 16, 1, INFINITY};
  std::vector<float> out(in.size());
  roots(out, in, 2, 1);
  for (std::size_t i = 0; i < in.size(); ++i) {
    const float x = 2 * in[i] + 1;
    EXPECT_EQ(out[i], x > 0 ? std::sqrt(x) : 0) << i;
  }
}

TEST(AddRows, TakesAnyNumberOfThem) {
  const std::vector<float> rows = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};  // [5, 2]
  std::vector<float> out = {100, 200};
  add_rows(out, rows, std::vector<float>{1, 0, -1, 2, 3});
  EXPECT_EQ(out, (std::vector<float>{100 + 1 - 5 + 14 + 27, 200 + 2 - 6 + 16 + 30}));
  add_rows(out, std::span<const float>(), std::span<const float>());
  EXPECT_EQ(out, (std::vector<float>{137, 242}));
}

}  // namespace
}  // namespace moesaic::signature
