// moesaic-mpi replay: runs a plan on the ranks of the job.
#pragma once

#include "command.hpp"

namespace moesaic::app {

void add_replay(CLI::App& app, Context& context);

}  // namespace moesaic::app
