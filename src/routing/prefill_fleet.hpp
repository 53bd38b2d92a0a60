// What the prefill policies share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "routing/fleet.hpp"
#include "routing/policy.hpp"

namespace moesaic::routing {

class PrefillFleetPolicy : public PrefillPolicy {
 public:
  void worker_up(const Worker& worker, Nanoseconds) final { fleet_.up(worker); }
  void worker_down(WorkerId worker, Nanoseconds) final { fleet_.down(worker); }
  void prefill_done(RequestId request, Nanoseconds) final { fleet_.remove(request); }
  Decision admit(const Request& request, Nanoseconds) final {
    fleet_.remove(request.id);
    if (fleet_.up_count() == 0) return {};
    const Choice choice = choose(request);
    fleet_.place(request.id, choice.slot, request.prompt_tokens, std::max(1u, request.prompt_tokens));
    return {fleet_.slots()[choice.slot].id, choice.reason};
  }

 protected:
  struct Choice {
    std::uint32_t slot;
    Reason reason;
  };
  /// A slot that is up. Called only when there is one.
  virtual Choice choose(const Request& request) = 0;

  Fleet fleet_;
};

}  // namespace moesaic::routing
