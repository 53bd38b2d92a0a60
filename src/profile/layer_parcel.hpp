// A layer's figures as bytes, between the ranks that share a profile.
#pragma once

#include "comm/comm.hpp"
#include "profile/layer_pass.hpp"

namespace moesaic::profile {

comm::Bytes pack(const LayerProfile& layer);
/// REQUIRES: bytes of pack() of the same build.
LayerProfile unpack(std::span<const std::byte> bytes);

}  // namespace moesaic::profile
