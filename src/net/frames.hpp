// Memory of coroutine frames. A request makes some thirty of them, many larger than what malloc keeps at
// hand; here a freed frame waits, by size, for the next one of its thread. At most 1 MiB waits in a thread.
// Under ASan this is plain operator new, so that a frame used after its end is found.
#pragma once

#include <cstddef>

namespace moesaic::net {

void* new_frame(std::size_t bytes);
/// `bytes` as given to new_frame().
void delete_frame(void* frame, std::size_t bytes) noexcept;

}  // namespace moesaic::net
