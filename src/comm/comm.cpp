#include "comm/comm.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/check.hpp"

namespace moesaic::comm {
namespace {

class OneRank final : public Comm {
 public:
  std::size_t rank() const override { return 0; }
  std::size_t size() const override { return 1; }
  Status barrier() override { return {}; }
  Status all_sum(std::span<std::int64_t>) override { return {}; }
  Result<std::vector<Bytes>> all_gather(std::span<const std::byte> mine) override {
    return std::vector<Bytes>{Bytes(mine.begin(), mine.end())};
  }
  Status broadcast(Bytes&, std::size_t root) override {
    MOESAIC_CHECK(root == 0);
    return {};
  }
  Result<std::vector<Bytes>> exchange(std::span<const std::size_t> peers,
                                      const std::vector<Bytes>& out) override {
    MOESAIC_CHECK(peers.size() == out.size() && peers.size() <= 1);
    MOESAIC_CHECK(peers.empty() || peers[0] == 0);
    return out;
  }
};

}  // namespace

std::string Comm::host() const {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

Comm& one_rank() {
  static OneRank ranks;
  return ranks;
}

Result<std::vector<Bytes>> gather(Comm& comm, Bytes mine, std::size_t root) {
  if (comm.rank() != root) {
    const std::array<std::size_t, 1> peer{root};
    std::vector<Bytes> out;
    out.push_back(std::move(mine));
    MOESAIC_TRY(comm.exchange(peer, out));
    return std::vector<Bytes>();
  }
  std::vector<std::size_t> everybody(comm.size());
  std::iota(everybody.begin(), everybody.end(), std::size_t{0});
  std::vector<Bytes> out(comm.size());
  out[root] = std::move(mine);
  return comm.exchange(everybody, out);
}

Status agree(Comm& comm, const Status& mine) {
  // A byte of kind (0: no error), then the message.
  Bytes state(1);
  if (!mine) {
    const std::string& message = mine.error().message;
    state[0] = static_cast<std::byte>(mine.error().kind);
    state.resize(1 + message.size());
    std::memcpy(state.data() + 1, message.data(), message.size());
  }
  MOESAIC_ASSIGN(const std::vector<Bytes> all, comm.all_gather(state));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const Bytes& theirs = all[rank];
    MOESAIC_CHECK(!theirs.empty());
    if (theirs[0] == std::byte{0}) continue;
    std::string message(reinterpret_cast<const char*>(theirs.data()) + 1, theirs.size() - 1);
    // What every rank found alike is nobody's in particular.
    bool alike = true;
    for (const Bytes& other : all) alike = alike && other == theirs;
    if (!alike) message = fmt::format("rank {}: {}", rank, message);
    return tl::unexpected(Error{static_cast<ErrorKind>(theirs[0]), std::move(message)});
  }
  return {};
}

}  // namespace moesaic::comm
