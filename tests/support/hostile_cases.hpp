// The hostile inputs of tests/data/hostile/cases.tsv: a small good file, what is done to it, and what the
// refusal must say. Both the library and the program are held to them.
#pragma once

#include <string>
#include <vector>

namespace moesaic::testing {

/// A line of cases.tsv; its columns are described there.
struct HostileCase {
  std::string line;      ///< as written, for messages
  bool program = false;  ///< also run through the program
  std::string base;      ///< file under tests/data/
  std::string name;      ///< the path under which it is imported
  std::string format;    ///< --format, or ""
  std::string shape;     ///< --shape, or ""
  std::string mutations;
  std::string message;  ///< must be part of the error
};

std::vector<HostileCase> hostile_cases();

/// The bytes of the base with the mutations done.
std::string hostile_bytes(const HostileCase& hostile);

}  // namespace moesaic::testing
