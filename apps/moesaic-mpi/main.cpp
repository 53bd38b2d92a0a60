// moesaic-mpi: the subcommands that the ranks of an MPI job share, under mpirun or srun. Exit codes as
// moesaic's; the root alone prints.
#include <csignal>
#include <cstdio>
#include <exception>

#include "comm_mpi/mpi_comm.hpp"
#include "command.hpp"
#include "core/version.hpp"
#include "replay_command.hpp"

namespace {

int run(moesaic::comm::MpiJob& job, int argc, char** argv) {
  using namespace moesaic;
  CLI::App app("Moesaic over MPI: run a plan on as many ranks as it has GPUs, share the work of one.");
  app.name("moesaic-mpi");
  app.set_version_flag("--version", std::string("moesaic-mpi ") + std::string(version()));
  app.require_subcommand(1);
  if (!job.comm().is_root()) app::be_quiet();
  app::Context context{.files = io::real_files(), .status = {}, .comm = job.comm()};
  app::add_replay(app, context);
  app::add_import(app, context);
  app::add_plan(app, context);
  app::add_profile(app, context);
  return app::run_program(app, context, argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);
  auto job = moesaic::comm::MpiJob::start(argc, argv);
  if (!job) {
    std::fprintf(stderr, "moesaic-mpi: %s\n", job.error().message.c_str());
    return static_cast<int>(job.error().kind);
  }
  try {
    return run(*job, argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "moesaic-mpi: rank %zu is out of memory; use more nodes, or fewer ranks a node\n",
                 job->comm().rank());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "moesaic-mpi: rank %zu: %s\n", job->comm().rank(), error.what());
  }
  // The other ranks wait for this one: end them.
  job->abort(static_cast<int>(moesaic::ErrorKind::kEnvironment));
}
