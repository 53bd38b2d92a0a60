#include "report/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/check.hpp"

namespace moesaic::report {
namespace {

bool looks_like_number(std::string_view cell) {
  return cell.empty() || cell == "-" ||
         (cell.find_first_of("0123456789") != std::string_view::npos &&
          cell.find_first_not_of("0123456789.,+-%eE x") == std::string_view::npos);
}

std::string_view line_of(std::string_view header, std::size_t line) {
  const std::size_t end = header.find('\n');
  if (line == 0) return header.substr(0, end);
  return end == std::string_view::npos ? std::string_view{} : header.substr(end + 1);
}

/// Columns of UTF-8 text: a character is one, whatever its bytes.
std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string_view first_columns(std::string_view text, std::size_t columns) {
  std::size_t end = 0;
  while (end < text.size()) {
    std::size_t next = end + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xC0) == 0x80) ++next;
    if (columns-- == 0) break;
    end = next;
  }
  return text.substr(0, end);
}

std::string cut(std::string_view cell, std::size_t width) {
  if (columns_of(cell) <= width) return std::string(cell);
  if (width <= 3) return std::string(first_columns(cell, width));
  return std::string(first_columns(cell, width - 3)) + "...";
}

}  // namespace

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {}

void Table::add(std::vector<std::string> cells) {
  MOESAIC_CHECK(cells.size() == headers_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  const std::size_t columns = headers_.size();
  std::vector<std::size_t> width(columns);
  std::vector<bool> right(columns, true);
  bool two_lines = false;
  for (std::size_t c = 0; c < columns; ++c) {
    two_lines = two_lines || headers_[c].find('\n') != std::string::npos;
    width[c] = std::max(columns_of(line_of(headers_[c], 0)), columns_of(line_of(headers_[c], 1)));
    for (const auto& row : rows_) {
      width[c] = std::max({width[c], columns_of(line_of(row[c], 0)), columns_of(line_of(row[c], 1))});
      right[c] = right[c] && looks_like_number(row[c]);
    }
  }
  constexpr std::size_t kGap = 2;
  std::size_t total = kGap * (columns - 1);
  for (const std::size_t w : width) total += w;
  while (total > kMaxWidth) {  // the widest text column gives way
    std::size_t widest = columns;
    for (std::size_t c = 0; c < columns; ++c) {
      if (!right[c] && (widest == columns || width[c] > width[widest])) widest = c;
    }
    if (widest == columns || width[widest] <= 8) break;
    const std::size_t give = std::min(total - kMaxWidth, width[widest] - 8);
    width[widest] -= give;
    total -= give;
  }
  std::string out;
  const auto put_line = [&](const auto& cell) {
    std::string line;
    for (std::size_t c = 0; c < columns; ++c) {
      if (c > 0) line.append(kGap, ' ');
      const std::string value = cut(cell(c), width[c]);
      const std::size_t pad = width[c] - columns_of(value);
      if (right[c]) line.append(pad, ' ');
      line += value;
      if (!right[c]) line.append(pad, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  put_line([&](std::size_t c) { return line_of(headers_[c], 0); });
  if (two_lines) put_line([&](std::size_t c) { return line_of(headers_[c], 1); });
  std::string rule;
  for (std::size_t c = 0; c < columns; ++c) rule += (c > 0 ? "  " : "") + std::string(width[c], '-');
  out += rule + "\n";
  for (const auto& row : rows_) {
    put_line([&](std::size_t c) { return line_of(row[c], 0); });
    if (std::ranges::any_of(row,
                            [](const std::string& cell) { return cell.find('\n') != std::string::npos; }))
      put_line([&](std::size_t c) { return line_of(row[c], 1); });
  }
  return out;
}

std::string number(double value, int decimals) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, decimals) : "-";
}

std::string with_commas(std::uint64_t value) {
  std::string digits = std::to_string(value);
  for (std::size_t i = digits.size(); i > 3;) {
    i -= 3;
    digits.insert(i, ",");
  }
  return digits;
}

std::string bytes(double value) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2, kUnits[unit]);
}

}  // namespace moesaic::report
