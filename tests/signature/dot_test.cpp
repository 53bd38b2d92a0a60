#include "signature/dot.hpp"

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

}  // namespace
}  // namespace moesaic::signature
