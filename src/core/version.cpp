#include "core/version.hpp"

#include <moesaic_version.hpp>

namespace moesaic {

std::string_view version() { return MOESAIC_VERSION; }

}  // namespace moesaic
