// moesaic: one program, one subcommand a job. Exit codes: 0 done, 1 the answer is no, 2 bad usage or
// input, 3 environment.
#include <csignal>
#include <cstdio>
#include <exception>

#include "command.hpp"
#include "core/version.hpp"
#include "serving.hpp"

namespace {

int run(int argc, char** argv) {
  using namespace moesaic;
  CLI::App app(
      "Moesaic: where the experts and the requests of an MoE model should sit, and proof that it pays.");
  app.name("moesaic");
  app.set_version_flag("--version", std::string("moesaic ") + std::string(version()));
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of every subcommand");
  app::Context context{.files = io::real_files(), .status = {}};
  app::add_info(app, context);
  app::add_profile(app, context);
  app::add_plan(app, context);
  app::add_evaluate(app, context);
  app::add_compare(app, context);
  app::add_export(app, context);
  app::add_verify(app, context);
  app::add_import(app, context);
  app::add_algorithms(app, context);
  app::add_fit(app, context);
  app::add_simulate(app, context);
  app::add_microbatch(app, context);
  app::add_gateway(app, context);
  app::add_emulate(app, context);
  app::add_record(app, context);
  return app::run_program(app, context, argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  // A file that may not grow is an error to report, as a full disk is, and not a reason to die.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "moesaic: out of memory; use a machine with more, or fewer --threads\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "moesaic: %s\n", error.what());
  }
  return static_cast<int>(moesaic::ErrorKind::kEnvironment);
}
