#include "net/frames.hpp"

#include <array>
#include <new>

namespace moesaic::net {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kReuse = false;
#elif defined(__has_feature)
constexpr bool kReuse = !__has_feature(address_sanitizer);
#else
constexpr bool kReuse = true;
#endif

constexpr std::size_t kStep = 32, kLargest = 4096, kMaxKept = std::size_t{1} << 20;

struct Free {
  Free* next;
};

struct Kept {
  std::array<Free*, kLargest / kStep> lists{};
  std::size_t bytes = 0;

  ~Kept();
};

/// False before the first frame and after the thread's store is gone.
thread_local bool kept_lives = false;
thread_local Kept kept_frames;

Kept::~Kept() {
  kept_lives = false;
  for (Free* list : lists) {
    while (list != nullptr) {
      Free* const next = list->next;
      ::operator delete(list);
      list = next;
    }
  }
}

constexpr std::size_t list_of(std::size_t bytes) { return (bytes - 1) / kStep; }

}  // namespace

void* new_frame(std::size_t bytes) {
  if (!kReuse || bytes > kLargest) return ::operator new(bytes);
  const std::size_t list = list_of(bytes), rounded = (list + 1) * kStep;
  if (!kept_lives) {
    kept_frames.bytes = 0;  // the first use makes the store, so that it is destroyed with the thread
    kept_lives = true;
  }
  Free* const frame = kept_frames.lists[list];
  if (frame == nullptr) return ::operator new(rounded);
  kept_frames.lists[list] = frame->next;
  kept_frames.bytes -= rounded;
  return frame;
}

void delete_frame(void* frame, std::size_t bytes) noexcept {
  if (kReuse && bytes <= kLargest && kept_lives) {
    const std::size_t list = list_of(bytes), rounded = (list + 1) * kStep;
    if (kept_frames.bytes + rounded <= kMaxKept) {
      kept_frames.lists[list] = new (frame) Free{kept_frames.lists[list]};
      kept_frames.bytes += rounded;
      return;
    }
  }
  ::operator delete(frame);
}

}  // namespace moesaic::net
