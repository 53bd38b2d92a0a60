#include "support/shared_data.hpp"
#include "support/paths.hpp"

#include <cstdlib>
#include <filesystem>

namespace moesaic::testing {

std::string shared_root() {
  const char* root = std::getenv("MOESAIC_SHARED");
  return root != nullptr ? root : source_path("../shared");
}

std::string shared_data(const std::string& path) { return shared_root() + "/data/" + path; }

bool has_shared_data(const std::string& path) { return std::filesystem::exists(shared_data(path)); }

}  // namespace moesaic::testing
