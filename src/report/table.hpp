// Plain-text tables for a terminal: at most 100 columns wide, numbers to the right.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace moesaic::report {

inline constexpr std::size_t kMaxWidth = 100;

class Table {
 public:
  /// `headers` may hold one '\n' each: two header lines.
  explicit Table(std::vector<std::string> headers);

  /// A cell too may hold one '\n'. REQUIRES: as many cells as headers.
  void add(std::vector<std::string> cells);

  /// Text with a line a row, each ending in '\n'. A column whose cells all look like numbers (or are
  /// empty or "-") is right-aligned. Lines longer than kMaxWidth have their widest text column cut
  /// with "...".
  std::string text() const;

  const std::vector<std::string>& headers() const { return headers_; }
  const std::vector<std::vector<std::string>>& rows() const { return rows_; }

 private:
  std::vector<std::string> headers_;
  std::vector<std::vector<std::string>> rows_;
};

/// Fixed decimals; "-" for NaN.
std::string number(double value, int decimals);
/// 12,345,678.
std::string with_commas(std::uint64_t value);
/// 1.5 GiB, 12 KiB: three digits at most and a binary unit.
std::string bytes(double value);

}  // namespace moesaic::report
