#include "support/paths.hpp"

namespace moesaic::testing {

std::string source_path(const std::string& relative) { return MOESAIC_SOURCE_DIR "/" + relative; }

std::string program_path() { return MOESAIC_PROGRAM; }

}  // namespace moesaic::testing
