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

RC_GTEST_PROP(Mix, EveryElementIsTheSameWhereverItStands, ()) {
  const auto size = *rc::gen::inRange<std::size_t>(1, 30);
  const auto number =
      rc::gen::map(rc::gen::inRange(0, 1000), [](int n) { return static_cast<float>(n) / 1001; });
  const auto own = *rc::gen::container<std::vector<float>>(size, number);
  const auto first = *rc::gen::container<std::vector<float>>(size, number);
  const auto second = *rc::gen::container<std::vector<float>>(size, number);
  const float scale = 4 * *number, rest = *number;
  const std::array<float, kMixedRows> weights = {*number, *number, 0, 0};
  std::vector<float> whole(size), single(size);
  const auto mix_at = [&](std::size_t from, std::span<float> out) {
    mix(out, own.data() + from, scale, {&first[from], &second[from], &first[from], &first[from]}, weights,
        rest);
  };
  mix_at(0, whole);
  for (std::size_t i = 0; i < size; ++i) {
    mix_at(i, std::span(single).subspan(i, 1));  // too short for a vector register: the scalar form
    RC_ASSERT(std::memcmp(&whole[i], &single[i], sizeof(float)) == 0);
    const double exact = static_cast<double>(own[i]) * static_cast<double>(scale) +
                         (static_cast<double>(first[i]) * static_cast<double>(weights[0]) +
                          static_cast<double>(second[i]) * static_cast<double>(weights[1])) *
                             static_cast<double>(rest);
    RC_ASSERT(std::abs(static_cast<double>(whole[i]) - std::min(1.0, exact)) < 1e-5);
  }
}

}  // namespace
}  // namespace moesaic::signature
