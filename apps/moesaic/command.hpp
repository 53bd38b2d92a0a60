// What the subcommands share. One file a subcommand: add_<name>() declares options and a callback.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "comm/comm.hpp"
#include "core/json.hpp"
#include "core/result.hpp"
#include "core/thread_pool.hpp"
#include "io/files.hpp"

namespace moesaic::app {

/// Made by main(), given to every subcommand; lives as long as the program.
struct Context {
  io::FileSystem& files;
  /// What the chosen subcommand came to; its error is printed once, by run_program().
  Status status;
  /// The ranks that share the work: one, but under moesaic-mpi. The root alone prints and writes; a rank
  /// alone that fails says so in comm::agree().
  comm::Comm& comm = comm::one_rank();
};

/// Runs `command` when the subcommand was chosen and keeps its status.
template <class Command>
void run_when_chosen(CLI::App& subcommand, Context& context, const Command& command) {
  subcommand.callback([&context, command] { context.status = command(); });
}

/// Parses the command line, runs the chosen subcommand and prints its error, once. Returns the exit code.
int run_program(CLI::App& app, Context& context, int argc, char** argv);

/// Prints to stdout, at the root.
void print_once(const Context& context, const std::string& text);

/// Writes a result as canonical JSON, at the root; "-" = stdout, "" = nowhere. Existing files are replaced:
/// --json is a report, not a product.
Status write_json(Context& context, const std::string& path, const Json& json);

/// Refuses to start what could not be kept: an error (bad input) when the file exists and not `force`.
Status refuse_existing(Context& context, const std::string& path, bool force);

/// Keeps all ranks but the root quiet: called once, before any subcommand.
void be_quiet();
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
void add_verify(CLI::App& app, Context& context);
void add_fit(CLI::App& app, Context& context);
void add_simulate(CLI::App& app, Context& context);
void add_microbatch(CLI::App& app, Context& context);

}  // namespace moesaic::app
