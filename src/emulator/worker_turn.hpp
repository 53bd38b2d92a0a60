// One request that an emulated engine serves. For worker*.cpp alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "emulator/worker.hpp"

namespace moesaic::emulator {

struct Worker::Turn {
  enum class Outcome { kOpen, kRefused, kBroken, kFinished };

  Turn(net::Loop& loop, net::Exchange& the_exchange, std::size_t& in_flight, std::string request_id)
      : exchange(the_exchange), id(std::move(request_id)), wake(loop), in_flight_(in_flight) {
    ++in_flight_;
  }
  ~Turn() { --in_flight_; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  net::Exchange& exchange;
  std::string id;
  Ask ask{};
  Fault fault = Fault::kNone;
  bool gone = false;
  Outcome outcome = Outcome::kOpen;
  std::uint32_t recorded = 0;
  std::uint32_t given = 0;  ///< tokens that the prefiller gave already
  Sequence* sequence = nullptr;
  net::Event wake;

 private:
  std::size_t& in_flight_;
};

/// Of an answer that is one JSON document.
const std::vector<net::Header>& json_headers();

}  // namespace moesaic::emulator
