#include "ingest/expert_array.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "core/limits.hpp"

namespace moesaic::ingest {

Result<std::vector<ExpertId>> to_experts(const io::Array& array, const std::string& where) {
  if (!io::is_integer(array.dtype) || array.dtype == io::DType::kBool) {
    return bad_input(
        fmt::format("{}: elements of type {}, expected expert ids", where, io::name(array.dtype)));
  }
  MOESAIC_ASSIGN(const std::vector<std::int64_t> ids, io::to_int64(array, where));
  const std::int64_t missing = array.dtype == io::DType::kUint8    ? 0xFF
                               : array.dtype == io::DType::kUint16 ? 0xFFFF
                                                                   : -1;
  std::vector<ExpertId> out;
  out.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == missing) {
      out.push_back(kMissingExpert);
    } else if (ids[i] < 0 || ids[i] >= static_cast<std::int64_t>(limits::kMaxExperts)) {
      return bad_input(
          fmt::format("{}: element {} is expert id {}, expected 0 to {}, or {} where none is known", where, i,
                      ids[i], limits::kMaxExperts - 1, missing));
    } else {
      out.push_back(ExpertId(static_cast<std::uint16_t>(ids[i])));
    }
  }
  return out;
}

Result<std::vector<double>> to_counts(const io::Array& array, bool shares, const std::string& where) {
  MOESAIC_ASSIGN(std::vector<double> counts, io::to_double(array, where));
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const bool good =
        counts[i] >= 0 && (shares ? std::isfinite(counts[i]) : counts[i] == std::floor(counts[i]));
    if (!good) {
      return bad_input(fmt::format("{}: element {} is {}, expected a {} >= 0", where, i, counts[i],
                                   shares ? "share" : "whole number"));
    }
  }
  return counts;
}

Phase phase_in(std::string_view text) {
  const auto holds = [&](std::string_view word) { return text.find(word) != std::string_view::npos; };
  if (holds("prefill") || holds("prompt")) return Phase::kPrefill;
  return holds("decode") ? Phase::kDecode : Phase::kAll;
}

NumberedName numbered(std::string_view text) {
  const std::size_t bar = text.rfind('_');
  if (bar == std::string_view::npos) return {std::string(text)};
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data() + bar + 1, text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return {std::string(text)};
  return {std::string(text.substr(0, bar)), number};
}

}  // namespace moesaic::ingest
