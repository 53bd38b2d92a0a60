// What the subcommands share. One file a subcommand: add_<name>() declares options and a callback.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "core/json.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "io/files.hpp"

namespace moesaic::app {

/// Made by main(), given to every subcommand; lives as long as the program.
struct Context {
  io::FileSystem& files;
  /// What the chosen subcommand came to; its error is printed once, by main().
  Status status;
};

/// Runs `command` when the subcommand was chosen and keeps its status.
template <class Command>
void run_when_chosen(CLI::App& subcommand, Context& context, Command command) {
  subcommand.callback([&context, command] { context.status = command(); });
}

/// Writes a result as canonical JSON; "-" = stdout, "" = nowhere. Existing files are replaced: --json is a
/// report, not a product.
Status write_json(Context& context, const std::string& path, const Json& json);

/// Prints a line that replaces itself on a terminal's stderr; nothing when stderr is no terminal.
void progress(const std::string& line);
/// Clears the progress line.
void progress_done();

void add_info(CLI::App& app, Context& context);
void add_import(CLI::App& app, Context& context);
void add_algorithms(CLI::App& app, Context& context);
void add_plan(CLI::App& app, Context& context);
void add_profile(CLI::App& app, Context& context);
void add_evaluate(CLI::App& app, Context& context);
void add_compare(CLI::App& app, Context& context);
void add_export(CLI::App& app, Context& context);
void add_simulate(CLI::App& app, Context& context);

}  // namespace moesaic::app
