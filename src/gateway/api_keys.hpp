// Who may ask: keys in a file, compared in a time that does not tell how much of a guess was right.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "io/files.hpp"

namespace moesaic::gateway {

class ApiKeys {
 public:
  /// No keys: everybody may.
  ApiKeys() = default;
  /// One key a line; empty lines and lines that begin with '#' do not count. Errors name the file: it cannot
  /// be read, it has no key, a key is shorter than 16 characters.
  static Result<ApiKeys> read(io::FileSystem& files, const std::string& path);

  /// `authorization`: the header's value, "Bearer <key>"; may be nullptr.
  bool allow(const std::string* authorization) const;

 private:
  std::vector<std::string> keys_;
};

/// Time depends on the lengths alone.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace moesaic::gateway
