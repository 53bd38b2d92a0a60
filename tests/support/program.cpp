#include "support/program.hpp"
#include "support/paths.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

#include "support/damage.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::testing {
namespace {

int open_file(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/// Takes both descriptors.
pid_t start(const std::vector<std::string>& arguments, int out_file, int err_file) {
  std::vector<std::string> words{program_path()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) {
    ::close(out_file);
    ::close(err_file);
    return pid;
  }
  if (out_file < 0 || err_file < 0 || ::dup2(out_file, STDOUT_FILENO) < 0 ||
      ::dup2(err_file, STDERR_FILENO) < 0) {
    ::_exit(126);
  }
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

ProgramResult wait_for(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) throw std::runtime_error("waitpid failed");
  ProgramResult result;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

ProgramResult wait_for(pid_t pid, const std::string& out, const std::string& err) {
  ProgramResult result = wait_for(pid);
  result.out = read_bytes(out);
  result.err = read_bytes(err);
  return result;
}

}  // namespace

ProgramResult run_moesaic(const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  const pid_t pid = start(arguments, open_file(folder / "out"), open_file(folder / "err"));
  return wait_for(pid, folder / "out", folder / "err");
}

ProgramResult kill_moesaic_after(std::chrono::microseconds delay, const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  const pid_t pid = start(arguments, open_file(folder / "out"), open_file(folder / "err"));
  // The kill is the subject here: it must come at any moment of the run, so real time is what is needed.
  ::usleep(static_cast<useconds_t>(delay.count()));
  ::kill(pid, SIGKILL);
  return wait_for(pid, folder / "out", folder / "err");
}

ProgramResult serve_moesaic(const std::string& ready, const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  const pid_t pid = start(arguments, pipe[1], open_file(folder / "err"));
  std::string out;
  char piece[4096];
  bool told = false;
  for (ssize_t n = 0; (n = ::read(pipe[0], piece, sizeof piece)) > 0;) {
    out.append(piece, static_cast<std::size_t>(n));
    if (!told && out.find(ready) != std::string::npos) told = ::kill(pid, SIGTERM) == 0;
  }
  ::close(pipe[0]);
  ProgramResult result = wait_for(pid);
  result.out = std::move(out);
  result.err = read_bytes(folder / "err");
  return result;
}

}  // namespace moesaic::testing
