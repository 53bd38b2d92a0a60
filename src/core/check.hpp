// Assertions for bugs, always on. Bad input is never a bug: it is an Error (core/result.hpp).
#pragma once

namespace moesaic {

/// Prints the failed condition with its place to stderr and aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace moesaic

/// Aborts when `condition` is false. For invariants and REQUIRES clauses only.
#define MOESAIC_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::moesaic::check_failed(#condition, __FILE__, __LINE__))

/// As MOESAIC_CHECK, in builds with MOESAIC_DCHECKS: for recomputations too dear for release.
#ifdef MOESAIC_DCHECKS
#define MOESAIC_DCHECK(condition) MOESAIC_CHECK(condition)
#else
#define MOESAIC_DCHECK(condition) static_cast<void>(sizeof(condition))
#endif
