// Calls to an upstream over kept connections. A call is one request and its answer, read piece by piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/connection.hpp"
#include "net/http_parser.hpp"

namespace moesaic::net {

struct ClientOptions {
  ParseLimits parse{};
  Nanoseconds connect_timeout = std::chrono::seconds(2);
  std::size_t max_idle = 256;  ///< kept connections
  /// Then closed here: before uvicorn, under vLLM and SGLang, does it after 5 s. A request that meets the
  /// peer's close on its way is lost.
  Nanoseconds max_idle_time = std::chrono::seconds(4);
};

class HttpCall;

/// Connections to one upstream. Dead ones are found when they die, not when they are needed.
class HttpPool {
 public:
  /// `tls`: every connection, before anything is sent.
  HttpPool(Loop& loop, std::string host, std::uint16_t port, const ClientOptions& options,
           std::optional<TlsPeer> tls = std::nullopt);
  ~HttpPool();
  HttpPool(const HttpPool&) = delete;
  HttpPool& operator=(const HttpPool&) = delete;

  /// A call on a kept or a new connection. Errors (environment): the upstream cannot be reached or is not
  /// trusted; nothing was sent.
  Task<Result<HttpCall>> open();
  /// A call on a kept connection, if there is one.
  std::optional<HttpCall> take();
  /// For connections and calls from now on.
  void use(const ClientOptions& options);
  const std::string& host_header() const;
  /// "https://10.0.0.1:8100".
  std::string url() const;
  std::size_t idle() const;
  /// Calls that are out.
  std::size_t active() const;

 private:
  friend class HttpCall;
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

/// What became of an attempt to read an answer.
enum class CallFault {
  kNone,
  kEnded,      ///< the upstream closed before the answer was whole
  kReset,      ///< the connection broke
  kDeadline,   ///< set_deadline() came
  kCancelled,  ///< cancel() was called
  kTooLarge,   ///< head or body beyond the limits
  kGarbage,    ///< no HTTP
};
std::string_view to_string(CallFault fault);

class HttpCall {
 public:
  HttpCall(HttpCall&&) noexcept;
  HttpCall& operator=(HttpCall&&) noexcept;
  /// A call that is not done breaks its connection, which tells the engine to stop.
  ~HttpCall();

  /// Sends the request. `body` pieces are sent in order; their total length is the Content-Length. False: see
  /// fault().
  Task<bool> send(std::string_view method, std::string_view target, std::span<const Header> headers,
                  std::span<const std::string_view> body);
  /// The same with headers as header_lines() gives them.
  Task<bool> send_lines(std::string_view method, std::string_view target, std::string_view lines,
                        std::span<const std::string_view> body);
  /// The answer's head; nullptr: see fault().
  Task<const HttpHead*> head();
  /// Appends what comes next of the body; false at its end or at a fault (then fault() != kNone).
  Task<bool> next(std::string& piece);
  /// Reads the rest. False: see fault().
  Task<bool> all(std::string& body, std::size_t max_bytes);
  /// The body is whole.
  bool done() const;
  CallFault fault() const;
  /// Bytes of an answer have come.
  bool answered() const;

  /// The whole call must be over by then, or until it is set anew.
  void set_deadline(Nanoseconds at);
  /// Ends the call from outside: whoever waits on it goes on with kCancelled.
  void cancel();

 private:
  friend class HttpPool;
  struct Impl;
  struct Release {
    void operator()(Impl* impl) const noexcept;
  };
  explicit HttpCall(std::unique_ptr<Impl> impl) : impl_(impl.release()) {}
  std::unique_ptr<Impl, Release> impl_;
};

/// One short request and its whole answer: health checks, metrics. Errors (environment) say what failed.
struct HttpAnswer {
  HttpHead head;
  std::string body;
};
Task<Result<HttpAnswer>> fetch(Loop& loop, HttpPool& pool, std::string method, std::string target,
                               std::vector<Header> headers, std::string body, Nanoseconds timeout,
                               std::size_t max_bytes);

}  // namespace moesaic::net
