#include "net/poller.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace moesaic::net {
namespace {

constexpr int kBatch = 128;
constexpr int kBusy = 8;  ///< as many events at once: more have come while they were told
constexpr int kRounds = 8;

}  // namespace

struct Poller::Batch {
  std::array<epoll_event, kBatch> events;
  int count = 0, next = 0;
};

Poller::Poller() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}
Poller::~Poller() {
  if (epoll_ >= 0) ::close(epoll_);
}

bool Poller::add(int socket, Watcher& watcher) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &watcher;
  return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) == 0;
}

void Poller::remove(const Watcher& watcher) {
  if (batch_ == nullptr) return;
  for (int i = batch_->next; i < batch_->count; ++i) {
    epoll_event& event = batch_->events[static_cast<std::size_t>(i)];
    if (event.data.ptr == &watcher) event.data.ptr = nullptr;
  }
}

void Poller::dispatch() {
  Batch batch;
  batch_ = &batch;
  for (int round = 0; round < kRounds; ++round) {
    batch.count = std::max(0, ::epoll_wait(epoll_, batch.events.data(), kBatch, 0));
    for (batch.next = 0; batch.next < batch.count;) {
      const epoll_event event = batch.events[static_cast<std::size_t>(batch.next++)];
      if (event.data.ptr != nullptr) static_cast<Watcher*>(event.data.ptr)->ready(event.events);
    }
    if (batch.count < kBusy) break;
  }
  batch_ = nullptr;
}

}  // namespace moesaic::net
