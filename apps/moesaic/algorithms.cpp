#include <fmt/format.h>

#include <cstdio>

#include "command.hpp"
#include "placement/algorithm.hpp"

namespace moesaic::app {

void add_algorithms(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("algorithms", "List the placement algorithms");
  run_when_chosen(*command, context, []() -> Status {
    for (const placement::Algorithm* algorithm : placement::algorithms()) {
      fmt::print("{:<12} {}{}\n{:<12} from {}\n", algorithm->name(), algorithm->summary(),
                 algorithm->needs_tokens() ? "" : " (plans from counts, too)", "", algorithm->source());
    }
    return {};
  });
}

}  // namespace moesaic::app
