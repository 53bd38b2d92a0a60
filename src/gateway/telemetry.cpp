#include "gateway/telemetry.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace moesaic::gateway {

void Histogram::add(Nanoseconds duration) {
  const double seconds = static_cast<double>(duration.count()) * 1e-9;
  const auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  ++buckets_[static_cast<std::size_t>(bucket)];
  ++count_;
  sum_ += seconds;
}

void Histogram::append(std::string& out, std::string_view name) const {
  auto to = std::back_inserter(out);
  fmt::format_to(to, "# TYPE {} histogram\n", name);
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < kBounds.size(); ++i) {
    below += buckets_[i];
    fmt::format_to(to, "{}_bucket{{le=\"{}\"}} {}\n", name, kBounds[i], below);
  }
  fmt::format_to(to, "{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, count_, sum_);
}

double Histogram::quantile(double q) const {
  if (count_ == 0) return 0;
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < kBounds.size(); ++i) {
    below += buckets_[i];
    if (static_cast<double>(below) >= q * static_cast<double>(count_)) return kBounds[i];
  }
  return kBounds.back();
}

std::optional<Nanoseconds> time_per_token(Nanoseconds first, Nanoseconds last, std::size_t events, bool usage,
                                          std::size_t choices) {
  const std::size_t without = usage ? 2 : 1;
  const std::size_t tokens = (events - std::min(events, without)) / std::max<std::size_t>(1, choices);
  if (tokens < 2) return std::nullopt;
  return (last - first) / static_cast<std::int64_t>(tokens - 1);
}

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kFinished:
      return "finished";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kUnreachable:
      return "unreachable";
    case Outcome::kUpstreamError:
      return "upstream_error";
    case Outcome::kDeadline:
      return "deadline";
    case Outcome::kBroken:
      return "broken";
    case Outcome::kClientGone:
      return "client_gone";
  }
  return "";
}

Log::~Log() {
  if (file_ != nullptr && file_ != stderr) std::fclose(file_);
}

Status Log::open(const std::string& path) {
  std::FILE* file = nullptr;
  if (path == "-") {
    file = stderr;
  } else if (path != "none") {
    file = std::fopen(path.c_str(), "ae");
    if (file == nullptr) {
      return environment_error(fmt::format("{}: cannot append to the log: {}", path, std::strerror(errno)));
    }
    std::setvbuf(file, nullptr, _IOLBF, 1 << 16);
  }
  if (file_ != nullptr && file_ != stderr) std::fclose(file_);
  file_ = file;
  return {};
}

void Log::write(std::string_view level, std::string_view message, Json fields) {
  if (file_ == nullptr) return;
  std::timespec now{};
  std::timespec_get(&now, TIME_UTC);
  fields["time"] = fmt::format("{:%FT%T}.{:06}Z", fmt::gmtime(now.tv_sec), now.tv_nsec / 1000);
  fields["level"] = level;
  fields["message"] = message;
  const std::string line = fields.dump() + "\n";
  std::fwrite(line.data(), 1, line.size(), file_);
}

}  // namespace moesaic::gateway
