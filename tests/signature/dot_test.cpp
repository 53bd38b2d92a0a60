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

}  // namespace
}  // namespace moesaic::signature
