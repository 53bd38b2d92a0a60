#include "support/hostile_cases.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "support/damage.hpp"

namespace moesaic::testing {
namespace {

std::vector<std::string> split(const std::string& text, const std::string& by) {
  std::vector<std::string> out;
  std::size_t at = 0;
  for (std::size_t next = text.find(by); next != std::string::npos; next = text.find(by, at)) {
    out.push_back(text.substr(at, next - at));
    at = next + by.size();
  }
  out.push_back(text.substr(at));
  return out;
}

/// "\n", "\0", "\xHH" and "\\" in a manifest stand for those bytes.
std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'n':
        out += '\n';
        break;
      case '0':
        out += '\0';
        break;
      case 'x':
        out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
        i += 2;
        break;
      default:
        out += text[i];
    }
  }
  return out;
}

[[noreturn]] void fail(const HostileCase& hostile, const std::string& what) {
  throw std::runtime_error("tests/data/hostile/cases.tsv: " + what + " in: " + hostile.line);
}

void mutate(std::string& bytes, const std::string& mutation, const HostileCase& hostile) {
  std::istringstream words(mutation);
  std::string verb;
  words >> verb;
  const std::string rest = mutation.size() > verb.size() ? mutation.substr(verb.size() + 1) : "";
  long long a = 0, b = 0;
  if (verb == "cut" && words >> a) {
    const long long size = a >= 0 ? a : static_cast<long long>(bytes.size()) + a;
    if (size < 0 || size >= static_cast<long long>(bytes.size())) fail(hostile, "a cut that cuts nothing");
    bytes.resize(static_cast<std::size_t>(size));
  } else if (verb == "flip" && words >> a >> b && a < static_cast<long long>(bytes.size())) {
    char& byte = bytes[static_cast<std::size_t>(a)];
    byte = static_cast<char>(byte ^ 1 << b);
  } else if (verb == "sub") {
    const auto parts = split(rest, " => ");
    const std::string from = unescaped(parts.at(0));
    const std::size_t at = bytes.find(from);
    if (parts.size() != 2 || at == std::string::npos) fail(hostile, "nothing to substitute");
    bytes.replace(at, from.size(), unescaped(parts[1]));
  } else if (verb == "put" && words >> a) {
    const std::string with = unescaped(rest.substr(std::to_string(a).size() + 1));
    if (static_cast<std::size_t>(a) + with.size() > bytes.size()) fail(hostile, "a put beyond the end");
    bytes.replace(static_cast<std::size_t>(a), with.size(), with);
  } else if (verb == "add") {
    bytes += unescaped(rest);
  } else if (verb == "all") {
    bytes = unescaped(rest);
  } else if (verb == "repeat" && words >> a) {
    const std::string unit = unescaped(rest.substr(std::to_string(a).size() + 1));
    for (long long i = 0; i < a; ++i) bytes += unit;
  } else {
    fail(hostile, "unknown mutation \"" + mutation + "\"");
  }
}

}  // namespace

std::vector<HostileCase> hostile_cases() {
  std::vector<HostileCase> out;
  std::istringstream lines(read_bytes(test_data("hostile/cases.tsv")));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    HostileCase one;
    one.line = line;
    const auto cells = split(line, "\t");
    if (cells.size() != 7) fail(one, fmt::format("{} columns, expected 7,", cells.size()));
    one.program = cells[0] == "program";
    one.base = cells[1];
    one.name = cells[2];
    one.format = cells[3];
    one.shape = cells[4];
    one.mutations = cells[5];
    one.message = cells[6];
    out.push_back(one);
  }
  return out;
}

std::string hostile_bytes(const HostileCase& hostile) {
  std::string bytes = hostile.base.empty() ? std::string() : read_bytes(test_data(hostile.base));
  if (!hostile.base.empty() && bytes.empty()) fail(hostile, "no such base");
  if (hostile.mutations.empty()) return bytes;
  for (const std::string& mutation : split(hostile.mutations, " ; ")) mutate(bytes, mutation, hostile);
  return bytes;
}

}  // namespace moesaic::testing
