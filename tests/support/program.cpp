#include "support/program.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

#include "support/damage.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::testing {
namespace {

pid_t start(const std::vector<std::string>& arguments, const std::string& out, const std::string& err) {
  std::vector<std::string> words{MOESAIC_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) return pid;
  const int out_file = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int err_file = ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (out_file < 0 || err_file < 0 || ::dup2(out_file, STDOUT_FILENO) < 0 ||
      ::dup2(err_file, STDERR_FILENO) < 0) {
    ::_exit(126);
  }
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

ProgramResult wait_for(pid_t pid, const std::string& out, const std::string& err) {
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) throw std::runtime_error("waitpid failed");
  ProgramResult result;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.out = read_bytes(out);
  result.err = read_bytes(err);
  return result;
}

}  // namespace

ProgramResult run_moesaic(const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  const pid_t pid = start(arguments, folder / "out", folder / "err");
  return wait_for(pid, folder / "out", folder / "err");
}

ProgramResult kill_moesaic_after(std::chrono::microseconds delay, const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  const pid_t pid = start(arguments, folder / "out", folder / "err");
  // The kill is the subject here: it must come at any moment of the run, so real time is what is needed.
  ::usleep(static_cast<useconds_t>(delay.count()));
  ::kill(pid, SIGKILL);
  return wait_for(pid, folder / "out", folder / "err");
}

}  // namespace moesaic::testing
