#include "trace/widen.hpp"

#include "core/check.hpp"

namespace moesaic::trace {
namespace {

constexpr std::size_t kBlock = 64;

template <class T>
bool widen(std::span<const T> in, std::size_t experts, std::span<ExpertId> out) {
  MOESAIC_CHECK(in.size() == out.size());
  constexpr T kMissing = static_cast<T>(~T{0});
  const T last = static_cast<T>(experts - 1);
  T bad = 0;
  const auto one = [&](std::size_t i) {
    const T id = in[i];
    const bool missing = id == kMissing;
    out[i] = static_cast<ExpertId>(static_cast<std::uint16_t>(missing ? 0xFFFF : id));
    bad = static_cast<T>(bad | static_cast<T>(id > last && !missing));
  };
  std::size_t i = 0;
  for (; i + kBlock <= in.size(); i += kBlock) {
    for (std::size_t j = 0; j < kBlock; ++j) one(i + j);
  }
  for (; i < in.size(); ++i) one(i);
  return bad == 0;
}

}  // namespace

bool widen_ids(std::span<const std::uint8_t> in, std::size_t experts, std::span<ExpertId> out) {
  MOESAIC_CHECK(experts <= 255);
  return widen(in, experts, out);
}

bool widen_ids(std::span<const std::uint16_t> in, std::size_t experts, std::span<ExpertId> out) {
  return widen(in, experts, out);
}

}  // namespace moesaic::trace
