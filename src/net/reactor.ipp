// Asio's side of a loop, for loop.cpp, connection.cpp and listener.cpp alone.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <optional>

#include "net/loop_impl.hpp"

namespace moesaic::net {

struct Reactor {
  // One thread reads and writes; others may post.
  boost::asio::io_context context{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO};
  std::optional<boost::asio::signal_set> signals;
};

inline boost::asio::io_context& reactor_of(Loop& loop) { return loop.impl().reactor->context; }

}  // namespace moesaic::net
