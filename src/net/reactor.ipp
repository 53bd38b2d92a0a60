// Asio's side of a loop, for loop.cpp, connection.ipp and listener.cpp alone.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <optional>

#include "net/loop_impl.hpp"
#include "net/poller.hpp"

namespace moesaic::net {

struct Reactor {
  Reactor() {
    if (poller.descriptor() < 0) return;
    boost::system::error_code failed;
    sockets.assign(poller.descriptor(), failed);
    if (!failed) watch();
  }
  ~Reactor() {
    if (sockets.is_open()) sockets.release();  // it is the poller's
  }

  void watch() {
    sockets.async_wait(sockets.wait_read, [this](const boost::system::error_code& error) {
      if (error) return;
      poller.dispatch();
      watch();
    });
  }

  Poller poller;
  // One thread reads and writes; others may post.
  boost::asio::io_context context{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO};
  std::optional<boost::asio::signal_set> signals;
  boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type> sockets{context};
};

inline boost::asio::io_context& reactor_of(Loop& loop) { return loop.impl().reactor->context; }
inline Poller& poller_of(Loop& loop) { return loop.impl().reactor->poller; }

}  // namespace moesaic::net
