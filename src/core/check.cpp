#include "core/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace moesaic {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "moesaic: bug: %s is false at %s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace moesaic
