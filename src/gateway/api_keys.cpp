#include "gateway/api_keys.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesaic::gateway {

bool same_secret(std::string_view a, std::string_view b) {
  volatile unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference = static_cast<unsigned char>(difference | static_cast<unsigned char>(a[i] ^ other));
  }
  return difference == 0;
}

Result<ApiKeys> ApiKeys::read(io::FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const std::string text, io::read_file(files, path, 1 << 20));
  ApiKeys keys;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    if (line.size() < 16) {
      return bad_input(fmt::format("{}: a key has {} characters: expected 16 or more", path, line.size()));
    }
    keys.keys_.emplace_back(line);
  }
  if (keys.keys_.empty())
    return bad_input(fmt::format("{}: expected API keys, one a line; there is none", path));
  return keys;
}

bool ApiKeys::allow(const std::string* authorization) const {
  if (keys_.empty()) return true;
  if (authorization == nullptr || !authorization->starts_with("Bearer ")) return false;
  const std::string_view guess = std::string_view(*authorization).substr(7);
  bool allowed = false;
  for (const std::string& key : keys_) allowed = same_secret(guess, key) || allowed;
  return allowed;
}

}  // namespace moesaic::gateway
