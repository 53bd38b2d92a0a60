#include "comm_mpi/mpi_comm.hpp"

#include <fmt/format.h>
#include <mpi.h>

#include <array>
#include <cstdlib>
#include <deque>
#include <optional>
#include <utility>

#include "core/check.hpp"

namespace moesaic::comm {
namespace {

/// MPI counts are ints: longer buffers travel in parts of this size.
constexpr std::size_t kPart = std::size_t{1} << 30;

Status check(int code, const char* call) {
  if (code == MPI_SUCCESS) return {};
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return environment_error(fmt::format("{}: {}; another rank or the network may be gone.", call,
                                       std::string_view(text.data(), static_cast<std::size_t>(length))));
}

class MpiComm final : public Comm {
 public:
  MpiComm() {
    int value = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &value);
    rank_ = static_cast<std::size_t>(value);
    MPI_Comm_size(MPI_COMM_WORLD, &value);
    size_ = static_cast<std::size_t>(value);
  }

  std::size_t rank() const override { return rank_; }
  std::size_t size() const override { return size_; }

  Status barrier() override { return check(MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier"); }

  Status all_sum(std::span<std::int64_t> values) override {
    constexpr std::size_t kMost = kPart / sizeof(std::int64_t);
    for (std::size_t at = 0; at < values.size(); at += kMost) {
      const auto part = values.subspan(at, std::min(kMost, values.size() - at));
      MOESAIC_TRY(check(MPI_Allreduce(MPI_IN_PLACE, part.data(), static_cast<int>(part.size()), MPI_INT64_T,
                                      MPI_SUM, MPI_COMM_WORLD),
                        "MPI_Allreduce"));
    }
    return {};
  }

  Result<std::vector<Bytes>> all_gather(std::span<const std::byte> mine) override {
    // One broadcast a rank: sizes may differ and may be beyond an int.
    std::vector<Bytes> all(size_);
    all[rank_].assign(mine.begin(), mine.end());
    std::vector<std::uint64_t> sizes(size_);
    const std::uint64_t own = mine.size();
    MOESAIC_TRY(check(MPI_Allgather(&own, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, MPI_COMM_WORLD),
                      "MPI_Allgather"));
    for (std::size_t r = 0; r < size_; ++r) {
      all[r].resize(sizes[r]);
      MOESAIC_TRY(broadcast_parts(all[r], r));
    }
    return all;
  }

  Status broadcast(Bytes& bytes, std::size_t root) override {
    std::uint64_t size = bytes.size();
    MOESAIC_TRY(
        check(MPI_Bcast(&size, 1, MPI_UINT64_T, static_cast<int>(root), MPI_COMM_WORLD), "MPI_Bcast"));
    bytes.resize(size);
    return broadcast_parts(bytes, root);
  }

  Result<std::vector<Bytes>> exchange(std::span<const std::size_t> peers,
                                      const std::vector<Bytes>& out) override {
    MOESAIC_CHECK(peers.size() == out.size());
    std::vector<MPI_Request> sends;
    std::vector<Bytes> in(peers.size());
    for (std::size_t i = 0; i < peers.size(); ++i) {
      if (peers[i] == rank_) {
        in[i] = out[i];
        continue;
      }
      for (std::size_t part = 0; part < parts(out[i].size()); ++part) {
        const std::size_t at = part * kPart, count = std::min(kPart, out[i].size() - at);
        MPI_Request request = MPI_REQUEST_NULL;
        MOESAIC_TRY(check(MPI_Isend(out[i].data() + at, static_cast<int>(count), MPI_BYTE,
                                    static_cast<int>(peers[i]), kTag, MPI_COMM_WORLD, &request),
                          "MPI_Isend"));
        sends.push_back(request);
      }
    }
    // Whatever fails, nothing may be under way out of buffers that the caller frees.
    Status received;
    for (std::size_t i = 0; i < peers.size() && received; ++i) {
      if (peers[i] != rank_) received = receive(peers[i], in[i]);
    }
    if (!received) {
      for (MPI_Request& request : sends) MPI_Cancel(&request);
    }
    const Status sent =
        check(MPI_Waitall(static_cast<int>(sends.size()), sends.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
    MOESAIC_TRY(received);
    MOESAIC_TRY(sent);
    return in;
  }

  Status post(std::size_t peer, Bytes message) override {
    // A message lives until MPI has sent it, which it has long before the next ones.
    while (!sending_.empty()) {
      int sent = 0;
      MOESAIC_TRY(check(MPI_Test(&sending_.front().request, &sent, MPI_STATUS_IGNORE), "MPI_Test"));
      if (sent == 0) break;
      sending_.pop_front();
    }
    Sending& now = sending_.emplace_back(Sending{MPI_REQUEST_NULL, std::move(message)});
    return check(MPI_Isend(now.message.data(), static_cast<int>(now.message.size()), MPI_BYTE,
                           static_cast<int>(peer), kPostTag, MPI_COMM_WORLD, &now.request),
                 "MPI_Isend");
  }

  Result<std::optional<Posted>> take_posted(bool wait) override {
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status{};
    int there = 1;
    if (wait) {
      MOESAIC_TRY(
          check(MPI_Mprobe(MPI_ANY_SOURCE, kPostTag, MPI_COMM_WORLD, &message, &status), "MPI_Mprobe"));
    } else {
      MOESAIC_TRY(check(MPI_Improbe(MPI_ANY_SOURCE, kPostTag, MPI_COMM_WORLD, &there, &message, &status),
                        "MPI_Improbe"));
    }
    if (there == 0) return std::nullopt;
    int count = 0;
    MPI_Get_count(&status, MPI_BYTE, &count);
    Posted posted{static_cast<std::size_t>(status.MPI_SOURCE), Bytes(static_cast<std::size_t>(count))};
    MOESAIC_TRY(check(MPI_Mrecv(posted.message.data(), count, MPI_BYTE, &message, &status), "MPI_Mrecv"));
    return posted;
  }

 private:
  static constexpr int kTag = 1, kPostTag = 2;
  struct Sending {
    MPI_Request request;
    Bytes message;
  };

  /// Messages a buffer takes; the last is shorter than kPart, which tells the receiver that it is the last.
  static std::size_t parts(std::size_t size) { return size / kPart + 1; }

  static Status receive(std::size_t from, Bytes& into) {
    for (std::size_t at = 0;;) {
      MPI_Message message = MPI_MESSAGE_NULL;
      MPI_Status status{};
      MOESAIC_TRY(
          check(MPI_Mprobe(static_cast<int>(from), kTag, MPI_COMM_WORLD, &message, &status), "MPI_Mprobe"));
      int count = 0;
      MPI_Get_count(&status, MPI_BYTE, &count);
      into.resize(at + static_cast<std::size_t>(count));
      MOESAIC_TRY(check(MPI_Mrecv(into.data() + at, count, MPI_BYTE, &message, &status), "MPI_Mrecv"));
      at += static_cast<std::size_t>(count);
      if (static_cast<std::size_t>(count) < kPart) return {};
    }
  }

  static Status broadcast_parts(Bytes& bytes, std::size_t root) {
    for (std::size_t at = 0; at < bytes.size(); at += kPart) {
      const std::size_t count = std::min(kPart, bytes.size() - at);
      MOESAIC_TRY(check(MPI_Bcast(bytes.data() + at, static_cast<int>(count), MPI_BYTE,
                                  static_cast<int>(root), MPI_COMM_WORLD),
                        "MPI_Bcast"));
    }
    return {};
  }

  std::size_t rank_ = 0, size_ = 1;
  std::deque<Sending> sending_;  ///< posted, perhaps not sent yet; the oldest first
};

}  // namespace

struct MpiJob::Impl {
  ~Impl() {
    int done = 0;
    MPI_Finalized(&done);
    if (done == 0) MPI_Finalize();
  }
  MpiComm comm;
};

Result<MpiJob> MpiJob::start(int& argc, char**& argv) {
  int provided = 0;
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) {
    return environment_error("MPI_Init_thread failed; start the program with mpirun or srun.");
  }
  if (provided < MPI_THREAD_SERIALIZED) {
    return environment_error("This MPI cannot serve a program with threads (MPI_THREAD_SERIALIZED).");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  return MpiJob(std::make_unique<Impl>());
}

MpiJob::MpiJob(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MpiJob::MpiJob(MpiJob&&) noexcept = default;
MpiJob& MpiJob::operator=(MpiJob&&) noexcept = default;
MpiJob::~MpiJob() = default;
Comm& MpiJob::comm() { return impl_->comm; }

void MpiJob::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::abort();  // MPI_Abort does not come back
}

}  // namespace moesaic::comm
