// A byte stream to a peer, over TCP or TLS, with an input buffer that never holds more than it must. At most
// one task reads and one writes. Deadlines close the connection, which ends whatever waits on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/loop.hpp"
#include "net/tls.hpp"

namespace moesaic::net {

/// Why a connection is no longer of use.
enum class Broken {
  kNot,
  kEnded,     ///< the peer closed its side
  kReset,     ///< the peer or the network broke it
  kDeadline,  ///< set_deadline() came
  kShut,      ///< shut() was called here
};
std::string_view to_string(Broken broken);

class Connection {
 public:
  struct Impl;
  // No tasks: most reads and writes need not wait, and each request makes several.
  struct [[nodiscard]] Fill {
    Impl* impl;
    std::size_t before;
    bool over;
    bool await_ready() const { return over; }
    void await_suspend(std::coroutine_handle<> caller) const;
    bool await_resume() const;
  };
  struct [[nodiscard]] Write {
    Impl* impl;
    bool over, good;
    bool await_ready() const { return over; }
    void await_suspend(std::coroutine_handle<> caller) const;
    bool await_resume() const;
  };

  explicit Connection(std::shared_ptr<Impl> impl);
  /// Closes; what the peer has not read may be lost.
  ~Connection();
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;

  /// Received and not consumed. Valid until the next fill().
  std::string_view input() const;
  void consume(std::size_t bytes);
  /// co_await fill(): waits until there is more input; false when there will be none (see broken()).
  Fill fill();
  /// co_await write(...): sends all of the pieces, in order; false when the connection broke. Waits while the
  /// peer is slow: the bytes must live until then. To be awaited at once.
  Write write(std::span<const std::string_view> pieces);
  Write write(std::string_view bytes);

  /// Calls back once when the peer closes while nobody reads; input that comes meanwhile is kept. An empty
  /// function takes the wish back.
  void on_close(std::function<void()> call);

  /// At that time the connection breaks.
  void set_deadline(Nanoseconds at);
  void clear_deadline();
  /// Breaks the connection now. With `reset` the peer learns that what it got is not whole.
  void shut(bool reset = false);
  /// Says end of stream to the peer and lets it read the rest; TLS says so too.
  Task<void> finish();

  /// TLS on an accepted connection, before anything is read: false when the handshake failed. The context
  /// must outlive the connection.
  Task<bool> accept_tls(const TlsContext& context);
  /// TLS on a connection made here, before anything is sent. Errors (environment) say why not: who answers is
  /// not trusted, is somebody else, speaks no TLS. The context must outlive the connection.
  Task<Status> connect_tls(const TlsPeer& peer);

  bool is_open() const;
  Broken broken() const;
  /// "127.0.0.1:4711".
  std::string peer() const;

 private:
  std::shared_ptr<Impl> impl_;
};

/// Connects within `timeout`. Errors (environment) name the peer and the reason.
Task<Result<Connection>> connect(Loop& loop, const std::string& host, std::uint16_t port,
                                 Nanoseconds timeout);

class Listener {
 public:
  /// Port 0: any free one. Errors (environment) name the address and the reason.
  static Result<Listener> open(Loop& loop, const std::string& address, std::uint16_t port);
  Listener(Listener&&) noexcept;
  Listener& operator=(Listener&&) noexcept;
  ~Listener();

  std::uint16_t port() const;
  /// The next connection; an error when the listener was closed or the machine has no more descriptors.
  Task<Result<Connection>> accept();
  void close();
  bool is_open() const;

  struct Impl;

 private:
  explicit Listener(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace moesaic::net
