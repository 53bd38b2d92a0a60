// Which group each request belongs to.
#pragma once

#include <vector>

#include "core/ids.hpp"
#include "core/topology.hpp"

namespace moesaic {

struct Homes {
  Attention attention = Attention::kDataParallel;
  std::vector<HomeId> of_request;  ///< by position in the Selection it was made for
};

}  // namespace moesaic
