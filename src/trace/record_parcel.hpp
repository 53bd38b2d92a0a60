// Records of one rank as a message to another.
#pragma once

#include <span>
#include <vector>

#include "comm/comm.hpp"
#include "trace/journal.hpp"

namespace moesaic::trace {

comm::Bytes pack(std::span<const JournalRecord> records);
/// What pack() made.
std::vector<JournalRecord> unpack_records(std::span<const std::byte> parcel);

}  // namespace moesaic::trace
