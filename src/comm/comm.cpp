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
  Status post(std::size_t, Bytes) override { return nobody(); }
  Result<std::optional<Posted>> take_posted(bool wait) override {
    if (wait) MOESAIC_TRY(nobody());
    return std::nullopt;
  }

 private:
  static Status nobody() { return environment_error("There is no other rank to talk to."); }
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

std::vector<std::size_t> everybody(const Comm& comm) {
  std::vector<std::size_t> ranks(comm.size());
  std::iota(ranks.begin(), ranks.end(), std::size_t{0});
  return ranks;
}

Status same_everywhere(Comm& comm, std::string_view mine, std::string_view what) {
  MOESAIC_ASSIGN(const std::vector<Bytes> all, comm.all_gather(std::as_bytes(std::span(mine))));
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    return environment_error(fmt::format(
        "rank {} sees another {} than rank 0; give paths that hold the same on every node", rank, what));
  }
  return {};
}

Result<std::vector<Bytes>> gather(Comm& comm, Bytes mine, std::size_t root) {
  if (comm.rank() != root) {
    const std::array<std::size_t, 1> peer{root};
    std::vector<Bytes> out;
    out.push_back(std::move(mine));
    MOESAIC_TRY(comm.exchange(peer, out));
    return std::vector<Bytes>();
  }
  std::vector<Bytes> out(comm.size());
  out[root] = std::move(mine);
  return comm.exchange(everybody(comm), out);
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
