#include "routing/fleet.hpp"

#include "core/check.hpp"

namespace moesaic::routing {

std::uint32_t Fleet::up(const Worker& worker) {
  std::uint32_t slot = kNone;
  if (const auto known = find(worker.id)) {
    slot = *known;
  } else {
    for (std::uint32_t i = 0; i < slots_.size() && slot == kNone; ++i) {
      if (!slots_[i].up) slot = i;
    }
    if (slot == kNone) {
      slot = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
    }
    slots_[slot] = {.id = worker.id, .up = true};
    ++up_;
  }
  slots_[slot].max_running = worker.max_running;
  slots_[slot].kv_capacity = worker.kv_capacity;
  return slot;
}

std::optional<std::uint32_t> Fleet::down(WorkerId worker) {
  const auto slot = find(worker);
  if (!slot) return std::nullopt;
  std::vector<std::uint32_t> lost;
  requests_.each([&](std::uint32_t place, const RequestTable::Record& record) {
    if (record.worker == *slot) lost.push_back(place);
  });
  for (const std::uint32_t place : lost) requests_.erase(place);
  slots_[*slot] = {};
  --up_;
  return slot;
}

std::optional<std::uint32_t> Fleet::find(WorkerId worker) const {
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].up && slots_[slot].id == worker) return slot;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> Fleet::report(WorkerId worker, const WorkerLoad& load) {
  const auto slot = find(worker);
  if (!slot) return std::nullopt;
  Slot& at = slots_[*slot];
  const std::uint32_t others = load.requests > at.requests ? load.requests - at.requests : 0;
  if (others == at.others) return std::nullopt;
  at.others = others;
  return slot;
}

std::uint32_t Fleet::place(RequestId request, std::uint32_t slot, std::int64_t kv_tokens,
                           std::uint32_t load) {
  MOESAIC_CHECK(slot < slots_.size() && slots_[slot].up);
  Slot& at = slots_[slot];
  at.load += load;
  at.requests += 1;
  at.kv_tokens += kv_tokens;
  at.given += 1;
  return requests_.insert({.id = request, .worker = slot, .kv_tokens = kv_tokens, .load = load});
}

std::optional<Fleet::Left> Fleet::remove(RequestId request) {
  const auto place = requests_.find(request);
  if (!place) return std::nullopt;
  const RequestTable::Record& record = requests_.at(*place);
  const std::uint32_t slot = record.worker;
  slots_[slot].load -= record.load;
  slots_[slot].requests -= 1;
  slots_[slot].kv_tokens -= record.kv_tokens;
  requests_.erase(*place);
  return Left{*place, slot};
}

bool Fleet::full(std::uint32_t slot, std::int64_t kv_tokens) const {
  const Slot& at = slots_[slot];
  const bool batch = at.max_running > 0 && std::uint64_t{at.requests} + at.others >= at.max_running;
  const bool cache = at.kv_capacity > 0 && at.kv_tokens + kv_tokens > at.kv_capacity;
  return batch || cache;
}

bool Fleet::lighter(std::uint32_t a, std::uint32_t b, std::int64_t kv_tokens) const {
  const bool full_a = full(a, kv_tokens), full_b = full(b, kv_tokens);
  if (full_a != full_b) return full_b;
  const Slot &left = slots_[a], &right = slots_[b];
  if (left.in_flight() != right.in_flight()) return left.in_flight() < right.in_flight();
  if (left.given != right.given) return left.given < right.given;
  return a < b;
}

std::uint32_t Fleet::nth_up(std::size_t i) const {
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].up && i-- == 0) return slot;
  }
  MOESAIC_CHECK(false);
  return kNone;
}

std::uint32_t Fleet::next_up(std::uint32_t& turn) const {
  const auto slots = static_cast<std::uint32_t>(slots_.size());
  while (!slots_[turn % slots].up) ++turn;
  const std::uint32_t slot = turn % slots;
  turn = slot + 1;
  return slot;
}

Decision FleetPolicy::admit(const Request& request, Nanoseconds at) {
  fleet_.remove(request.id);
  if (fleet_.up_count() == 0) return {};
  const Choice choice = choose(request, at);
  fleet_.place(request.id, choice.slot, expected_kv(request));
  return {fleet_.slots()[choice.slot].id, choice.reason};
}

}  // namespace moesaic::routing
