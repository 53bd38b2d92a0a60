// Tells when plain sockets can be read or written, edge-triggered (epoll(7)): a socket is asked for once, and
// one that was emptied, or filled, is not tried again before the kernel says so. Asio tries every read before
// it waits and hides the peer's FIN among the data; its reactor waits for this poller's descriptor instead
// (reactor.ipp). For the files of `net` that speak to sockets.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moesaic::net {

class Poller {
 public:
  class Watcher {
   public:
    /// `events` of epoll_wait(2).
    virtual void ready(std::uint32_t events) = 0;

   protected:
    ~Watcher() = default;
  };

  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  /// Readable while any socket has news; -1 when the machine gave none: then add() fails.
  int descriptor() const { return epoll_; }
  /// From now on `watcher` hears of input, room for output, and the peer's end. False: the machine refuses.
  bool add(int socket, Watcher& watcher);
  /// Before the socket is closed: `watcher` hears nothing more.
  void remove(const Watcher& watcher);
  /// Tells the news. Takes another round at once while rounds are full, but a few only: others wait too.
  void dispatch();

 private:
  struct Batch;
  int epoll_;
  Batch* batch_ = nullptr;  ///< being told
};

}  // namespace moesaic::net
