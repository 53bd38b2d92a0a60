// What the .cpp files of `net` share of a loop. Not for other modules.
#pragma once

#include <coroutine>
#include <cstddef>
#include <list>
#include <memory>

#include "net/loop.hpp"

namespace moesaic::net {

/// Gives the reactor behind a loop to the files that speak to sockets.
struct Reactor;

struct Loop::Impl {
  std::unique_ptr<Reactor> reactor;
  std::list<std::coroutine_handle<>> roots;  ///< spawned tasks that have not ended

  Impl();
  ~Impl();
  void drop_roots();
};

}  // namespace moesaic::net
