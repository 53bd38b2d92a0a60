// Errors as values. A message is one full sentence: what, where (file, byte or line, key), what was
// found, what was expected, what to do. No exception crosses a module.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace moesaic {

/// Sorted by who can help; the values are the program's exit codes.
enum class ErrorKind : int {
  kNo = 1,           ///< the answer is no (a limit is missed, a comparison fails)
  kBadInput = 2,     ///< bad usage or bad input
  kEnvironment = 3,  ///< the machine: a full disk, a missing right, no memory
};

struct Error {
  ErrorKind kind = ErrorKind::kBadInput;
  std::string message;
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> answer_no(std::string message) {
  return tl::unexpected<Error>(Error{ErrorKind::kNo, std::move(message)});
}
inline tl::unexpected<Error> bad_input(std::string message) {
  return tl::unexpected<Error>(Error{ErrorKind::kBadInput, std::move(message)});
}
inline tl::unexpected<Error> environment_error(std::string message) {
  return tl::unexpected<Error>(Error{ErrorKind::kEnvironment, std::move(message)});
}

}  // namespace moesaic

#define MOESAIC_CONCAT_(a, b) a##b
#define MOESAIC_CONCAT(a, b) MOESAIC_CONCAT_(a, b)

/// Returns the error of `expression` (a Result or Status) from this function, if there is one.
#define MOESAIC_TRY(expression)                                                    \
  do {                                                                             \
    auto&& moesaic_status = (expression);                                          \
    if (!moesaic_status) return tl::unexpected(std::move(moesaic_status).error()); \
  } while (false)

/// MOESAIC_ASSIGN(auto x, f()): declares or assigns x from a Result, or returns its error.
#define MOESAIC_ASSIGN(target, expression) \
  MOESAIC_ASSIGN_(MOESAIC_CONCAT(moesaic_result_, __LINE__), target, expression)
#define MOESAIC_ASSIGN_(name, target, expression)            \
  auto name = (expression);                                  \
  if (!name) return tl::unexpected(std::move(name).error()); \
  target = std::move(*name)
