// Running the program under test as a real process.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace moesaic::testing {

struct ProgramResult {
  int exit_code = -1;  ///< -1 when a signal ended it
  int signal = 0;
  std::string out, err;
};

/// Runs the built moesaic with `arguments` and waits.
ProgramResult run_moesaic(const std::vector<std::string>& arguments);

/// Runs it and sends SIGKILL after `delay`, unless it ends before.
ProgramResult kill_moesaic_after(std::chrono::microseconds delay, const std::vector<std::string>& arguments);

/// Runs a server until it says `ready` on stdout, asks it to stop (SIGTERM) and waits. One that ends before
/// is waited for all the same.
ProgramResult serve_moesaic(const std::string& ready, const std::vector<std::string>& arguments);

}  // namespace moesaic::testing
