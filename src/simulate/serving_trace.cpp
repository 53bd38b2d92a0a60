#include "simulate/serving_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <numeric>
#include <optional>

#include "core/limits.hpp"
#include "io/byte_stream.hpp"
#include "io/json.hpp"

namespace moesaic::simulate {
namespace {

constexpr std::uint32_t kMaxRequestTokens = 100'000'000;

/// Calls visit(line, number from 1) for every line that is not empty, until one fails.
template <class Visit>
Status each_line(std::string_view text, Visit visit) {
  std::size_t number = 1;
  for (std::size_t begin = 0; begin < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) MOESAIC_TRY(visit(line, number));
    begin = end + 1;
  }
  return {};
}

/// Days from 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
std::int64_t days_from_civil(std::int64_t year, unsigned month, unsigned day) {
  return std::chrono::sys_days(std::chrono::year(static_cast<int>(year)) / std::chrono::month(month) /
                               std::chrono::day(day))
      .time_since_epoch()
      .count();
}

/// "2023-11-16 18:17:03.9799600" in nanoseconds since 1970.
std::optional<Nanoseconds> parse_timestamp(std::string_view text) {
  std::uint32_t part[6] = {};
  constexpr std::string_view kForm = "0000-11-22 33:44:55";
  if (text.size() < kForm.size()) return std::nullopt;
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    if (kForm[i] < '0' || kForm[i] > '5') {
      if (text[i] != kForm[i]) return std::nullopt;
    } else if (text[i] < '0' || text[i] > '9') {
      return std::nullopt;
    } else {
      std::uint32_t& value = part[kForm[i] - '0'];
      value = value * 10 + static_cast<std::uint32_t>(text[i] - '0');
    }
  }
  std::int64_t fraction = 0, unit = 100'000'000;
  const std::string_view rest = text.substr(kForm.size());
  if (!rest.empty() && rest[0] != '.') return std::nullopt;
  for (const char digit : rest.substr(rest.empty() ? 0 : 1)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    fraction += unit * (digit - '0');
    unit /= 10;
  }
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(part[0])),
                                         std::chrono::month(part[1]), std::chrono::day(part[2])};
  if (!date.ok() || part[3] > 23 || part[4] > 59 || part[5] > 60) return std::nullopt;
  const std::int64_t seconds = days_from_civil(part[0], part[1], part[2]) * 86'400 +
                               std::int64_t{part[3]} * 3'600 + std::int64_t{part[4]} * 60 + part[5];
  return Nanoseconds(seconds * 1'000'000'000 + fraction);
}

std::optional<std::uint32_t> parse_tokens(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > kMaxRequestTokens) {
    return std::nullopt;
  }
  return value;
}

/// Sorts by time (stable) and starts at 0. An empty trace is an error.
Result<ServingTrace> in_order(ServingTrace trace, const std::string& where) {
  if (trace.size() == 0) return bad_input(fmt::format("{}: holds no request, expected one a line", where));
  std::vector<std::size_t> order(trace.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](auto a, auto b) { return trace.at[a] < trace.at[b]; });
  ServingTrace out;
  for (const std::size_t i : order) {
    out.at.push_back(trace.at[i] - trace.at[order[0]]);
    out.prompt_tokens.push_back(trace.prompt_tokens[i]);
    out.output_tokens.push_back(trace.output_tokens[i]);
    if (trace.block_end.empty()) continue;
    const auto blocks = trace.blocks(i);
    out.block_ids.insert(out.block_ids.end(), blocks.begin(), blocks.end());
    out.block_end.push_back(out.block_ids.size());
  }
  return out;
}

}  // namespace

Result<ServingTrace> parse_azure_csv(std::string_view text, const std::string& where) {
  constexpr std::string_view kHeader = "TIMESTAMP,ContextTokens,GeneratedTokens";
  ServingTrace out;
  bool header = false;
  MOESAIC_TRY(each_line(text, [&](std::string_view line, std::size_t number) -> Status {
    if (!header) {
      if (line != kHeader) {
        return bad_input(fmt::format("{}, line {}: found \"{}\", expected the header {}", where, number,
                                     line.substr(0, 80), kHeader));
      }
      header = true;
      return {};
    }
    const std::size_t first = line.find(','), second = line.find(',', first + 1);
    const auto at = parse_timestamp(line.substr(0, first));
    const bool fields = first != line.npos && second != line.npos;
    const auto prompt = fields ? parse_tokens(line.substr(first + 1, second - first - 1)) : std::nullopt;
    const auto output = fields ? parse_tokens(line.substr(second + 1)) : std::nullopt;
    if (!at || !prompt || !output) {
      return bad_input(
          fmt::format("{}, line {}: found \"{}\", expected a time like \"2023-11-16 "
                      "18:17:03.97\" and two numbers of tokens",
                      where, number, line.substr(0, 80)));
    }
    out.at.push_back(*at);
    out.prompt_tokens.push_back(*prompt);
    out.output_tokens.push_back(*output);
    return {};
  }));
  return in_order(std::move(out), where);
}

Result<ServingTrace> parse_mooncake_jsonl(std::string_view text, const std::string& where) {
  ServingTrace out;
  MOESAIC_TRY(each_line(text, [&](std::string_view line, std::size_t number) -> Status {
    const std::string place = fmt::format("{}, line {}", where, number);
    MOESAIC_ASSIGN(const Json json, io::parse_json(line, place));
    std::uint64_t at = 0, prompt = 0, output = 0;
    const auto read = [&](const char* key, std::uint64_t& value, std::uint64_t max) {
      const Json* member = json.find(key);
      return member != nullptr && member->to_uint(value) && value <= max;
    };
    if (!read("timestamp", at, std::uint64_t{1} << 40) || !read("input_length", prompt, kMaxRequestTokens) ||
        !read("output_length", output, kMaxRequestTokens)) {
      return bad_input(
          fmt::format("{}: timestamp, input_length or output_length is missing or no whole number in its "
                      "bounds",
                      place));
    }
    out.at.push_back(Nanoseconds(static_cast<std::int64_t>(at) * 1'000'000));
    out.prompt_tokens.push_back(static_cast<std::uint32_t>(prompt));
    out.output_tokens.push_back(static_cast<std::uint32_t>(output));
    const Json* ids = json.find("hash_ids");
    if (ids != nullptr && ids->as_array() != nullptr) {
      for (const Json& id : *ids->as_array()) {
        std::uint64_t value = 0;
        if (!id.to_uint(value)) {
          return bad_input(fmt::format("{}: hash_ids holds something that is no whole number", place));
        }
        out.block_ids.push_back(value);
      }
    }
    out.block_end.push_back(out.block_ids.size());
    return {};
  }));
  return in_order(std::move(out), where);
}

Result<ServingTrace> read_serving_trace(io::FileSystem& files, const std::string& path) {
  const std::string_view name = io::without_compression(path);
  const bool csv = name.ends_with(".csv");
  if (!csv && !name.ends_with(".jsonl")) {
    return bad_input(fmt::format(
        "{}: arrivals are read from .csv (Azure) and .jsonl (Mooncake) files, plain or compressed", path));
  }
  MOESAIC_ASSIGN(const std::string text, io::read_maybe_compressed(files, path, limits::kMaxConfigBytes));
  return csv ? parse_azure_csv(text, path) : parse_mooncake_jsonl(text, path);
}

}  // namespace moesaic::simulate
