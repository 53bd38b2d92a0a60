#include "command.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace moesaic::app {
namespace {

bool quiet = false;

}  // namespace

int run_program(CLI::App& app, Context& context, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asked_for_help = error.get_exit_code() == 0;
    if (context.comm.is_root()) static_cast<void>(app.exit(error));
    return asked_for_help ? 0 : static_cast<int>(ErrorKind::kBadInput);
  }
  progress_done();
  const Status status = comm::agree(context.comm, context.status);
  if (status) return 0;
  std::fflush(stdout);
  if (context.comm.is_root()) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), status.error().message.c_str());
  }
  return static_cast<int>(status.error().kind);
}

void print_once(const Context& context, const std::string& text) {
  if (context.comm.is_root()) std::fputs(text.c_str(), stdout);
}

Status write_json(Context& context, const std::string& path, const Json& json) {
  if (path.empty() || !context.comm.is_root()) return {};
  const std::string text = json.dump(1) + "\n";
  if (path == "-") {
    std::fputs(text.c_str(), stdout);
    return {};
  }
  return io::write_file_atomically(context.files, path, text, true);
}

Status refuse_existing(Context& context, const std::string& path, bool force) {
  MOESAIC_ASSIGN(const io::FileStatus there, context.files.status(path));
  if (!there.exists || force) return {};
  return bad_input(fmt::format("{}: exists; give --force to replace it.", path));
}

void be_quiet() { quiet = true; }

void progress(const std::string& line) {
  if (quiet) return;
  if (::isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\r\033[K%.100s", line.c_str());
  std::fflush(stderr);
}

void progress_done() { progress(""); }

}  // namespace moesaic::app
