#include "ingest/json_text.hpp"

#include <string>

namespace moesaic::ingest {

bool has_key(std::string_view head, std::string_view key) {
  const std::string quoted = '"' + std::string(key) + '"';
  for (std::size_t at = head.find(quoted); at != std::string_view::npos; at = head.find(quoted, at + 1)) {
    if (JsonStart(head.substr(at + quoted.size())).take(':')) return true;
  }
  return false;
}

}  // namespace moesaic::ingest
