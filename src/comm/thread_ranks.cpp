#include "comm/thread_ranks.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "core/check.hpp"

namespace moesaic::comm {
namespace {

/// Message queues between every two ranks.
class Mailboxes {
 public:
  explicit Mailboxes(std::size_t ranks)
      : ranks_(ranks), queues_(ranks * ranks), posted_(ranks), gone_(ranks) {}

  std::size_t ranks() const { return ranks_; }

  void send(std::size_t from, std::size_t to, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    queues_[from * ranks_ + to].push_back(std::move(bytes));
    arrived_.notify_all();
  }

  Result<Bytes> receive(std::size_t from, std::size_t to) {
    std::unique_lock lock(mutex_);
    std::deque<Bytes>& queue = queues_[from * ranks_ + to];
    arrived_.wait(lock, [&] { return !queue.empty() || gone_[from]; });
    if (queue.empty()) return environment_error("rank " + std::to_string(from) + " has left the job.");
    Bytes bytes = std::move(queue.front());
    queue.pop_front();
    return bytes;
  }

  void post(std::size_t from, std::size_t to, Bytes message) {
    const std::lock_guard lock(mutex_);
    posted_[to].push_back({from, std::move(message)});
    arrived_.notify_all();
  }

  Result<std::optional<Comm::Posted>> take_posted(std::size_t to, bool wait) {
    std::unique_lock lock(mutex_);
    std::deque<Comm::Posted>& queue = posted_[to];
    const auto alone = [&] {
      for (std::size_t r = 0; r < ranks_; ++r) {
        if (r != to && !gone_[r]) return false;
      }
      return true;
    };
    if (wait) arrived_.wait(lock, [&] { return !queue.empty() || alone(); });
    if (queue.empty()) {
      if (wait) return environment_error("All other ranks have left the job.");
      return std::nullopt;
    }
    Comm::Posted posted = std::move(queue.front());
    queue.pop_front();
    return posted;
  }

  void leave(std::size_t rank) {
    const std::lock_guard lock(mutex_);
    gone_[rank] = true;
    arrived_.notify_all();
  }

 private:
  std::size_t ranks_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::deque<Bytes>> queues_;         ///< [from, to]
  std::vector<std::deque<Comm::Posted>> posted_;  ///< [to]
  std::vector<bool> gone_;
};

class ThreadRank final : public Comm {
 public:
  ThreadRank(Mailboxes& mail, std::size_t rank, std::string host)
      : mail_(mail), rank_(rank), host_(std::move(host)) {}

  std::size_t rank() const override { return rank_; }
  std::size_t size() const override { return mail_.ranks(); }
  std::string host() const override { return host_; }

  Status barrier() override {
    MOESAIC_TRY(all_gather({}));
    return {};
  }
  Status all_sum(std::span<std::int64_t> values) override {
    MOESAIC_ASSIGN(const std::vector<Bytes> all, all_gather(std::as_bytes(values)));
    std::vector<std::int64_t> sum(values.size());
    for (const Bytes& theirs : all) {
      MOESAIC_CHECK(theirs.size() == values.size_bytes());
      const auto* const numbers = reinterpret_cast<const std::int64_t*>(theirs.data());
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += numbers[i];
    }
    std::copy(sum.begin(), sum.end(), values.begin());
    return {};
  }
  Result<std::vector<Bytes>> all_gather(std::span<const std::byte> mine) override {
    return exchange(everybody(*this), std::vector<Bytes>(size(), Bytes(mine.begin(), mine.end())));
  }
  Status broadcast(Bytes& bytes, std::size_t root) override {
    if (rank_ == root) {
      for (std::size_t r = 0; r < size(); ++r) {
        if (r != root) mail_.send(rank_, r, bytes);
      }
      return {};
    }
    MOESAIC_ASSIGN(bytes, mail_.receive(root, rank_));
    return {};
  }
  Result<std::vector<Bytes>> exchange(std::span<const std::size_t> peers,
                                      const std::vector<Bytes>& out) override {
    MOESAIC_CHECK(peers.size() == out.size());
    for (std::size_t i = 0; i < peers.size(); ++i) mail_.send(rank_, peers[i], out[i]);
    std::vector<Bytes> in;
    for (const std::size_t peer : peers) {
      MOESAIC_ASSIGN(Bytes bytes, mail_.receive(peer, rank_));
      in.push_back(std::move(bytes));
    }
    return in;
  }
  Status post(std::size_t peer, Bytes message) override {
    mail_.post(rank_, peer, std::move(message));
    return {};
  }
  Result<std::optional<Posted>> take_posted(bool wait) override { return mail_.take_posted(rank_, wait); }

 private:
  Mailboxes& mail_;
  std::size_t rank_;
  std::string host_;
};

}  // namespace

std::vector<Status> run_thread_ranks(std::size_t ranks, const std::function<Status(Comm&)>& body,
                                     const std::vector<std::string>& hosts) {
  MOESAIC_CHECK(ranks > 0 && (hosts.empty() || hosts.size() == ranks));
  Mailboxes mail(ranks);
  std::vector<Status> statuses(ranks);
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      ThreadRank rank(mail, r, hosts.empty() ? "localhost" : hosts[r]);
      statuses[r] = body(rank);
      mail.leave(r);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

}  // namespace moesaic::comm
