#include "command.hpp"

#include <unistd.h>

#include <cstdio>

namespace moesaic::app {

Status write_json(Context& context, const std::string& path, const Json& json) {
  if (path.empty()) return {};
  const std::string text = json.dump(1) + "\n";
  if (path == "-") {
    std::fputs(text.c_str(), stdout);
    return {};
  }
  return io::write_file_atomically(context.files, path, text, true);
}

void progress(const std::string& line) {
  if (::isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\r\033[K%.100s", line.c_str());
  std::fflush(stderr);
}

void progress_done() { progress(""); }

}  // namespace moesaic::app
