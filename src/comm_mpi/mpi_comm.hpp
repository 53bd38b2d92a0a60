// The collectives of comm over MPI. Linked by moesaic-mpi alone: nothing else needs an MPI library.
#pragma once

#include <memory>

#include "comm/comm.hpp"
#include "core/result.hpp"

namespace moesaic::comm {

/// The ranks that mpirun (or srun) started. One a process, on its main thread; MPI is initialised by start()
/// and finalised by the destructor. An error of MPI is an environment error that names the call.
class MpiJob {
 public:
  /// Errors: MPI cannot start.
  static Result<MpiJob> start(int& argc, char**& argv);
  MpiJob(MpiJob&&) noexcept;
  MpiJob& operator=(MpiJob&&) noexcept;
  ~MpiJob();

  Comm& comm();

  /// Ends all ranks at once with that exit code: for a rank that cannot reach the next agree().
  [[noreturn]] void abort(int exit_code);

 private:
  struct Impl;
  explicit MpiJob(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace moesaic::comm
