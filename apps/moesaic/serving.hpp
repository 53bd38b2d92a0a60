// The subcommands that serve until they are told to stop.
#pragma once

#include "command.hpp"

namespace moesaic::app {

void add_gateway(CLI::App& app, Context& context);
void add_emulate(CLI::App& app, Context& context);
void add_record(CLI::App& app, Context& context);

}  // namespace moesaic::app
