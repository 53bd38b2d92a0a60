// Where the checkout and the program under test are. Functions and not macros: only paths.cpp is compiled
// anew in another folder, so a compiler cache serves every other test of every clone.
#pragma once

#include <string>

namespace moesaic::testing {

// "<checkout>/<relative>", for a file of the repository ("samples/moesaic-mini").
std::string source_path(const std::string& relative);

// The moesaic binary of this build.
std::string program_path();

}  // namespace moesaic::testing
