// Arrays of foreign containers as experts and counts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "core/result.hpp"
#include "core/selection.hpp"
#include "io/array.hpp"

namespace moesaic::ingest {

/// Ids in C order; -1, or all ones of an unsigned type, is kMissingExpert. Errors name `where`: no integers,
/// an id below -1 or not below limits::kMaxExperts.
Result<std::vector<ExpertId>> to_experts(const io::Array& array, const std::string& where);

/// Whole numbers >= 0 as doubles, or, with `shares`, any finite numbers >= 0.
Result<std::vector<double>> to_counts(const io::Array& array, bool shares, const std::string& where);

/// kPrefill when `text` holds "prefill" or "prompt", kDecode when it holds "decode", else kAll.
Phase phase_in(std::string_view text);

/// "math_calib_03" -> {"math_calib", 3}; no digits after a last '_': the whole text and -1.
struct NumberedName {
  std::string stem;
  std::int64_t number = -1;
};
NumberedName numbered(std::string_view text);

}  // namespace moesaic::ingest
