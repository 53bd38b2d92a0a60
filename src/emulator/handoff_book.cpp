#include "emulator/handoff_book.hpp"

#include <fmt/format.h>

namespace moesaic::emulator {

Status HandoffBook::offer(Offer offer, Nanoseconds now) {
  expire(now);
  if (pending_.contains(offer.key) || past_.contains(offer.key)) {
    return bad_input(fmt::format("handoff \"{}\" was used before: expected a fresh id for every request",
                                 offer.key.substr(0, 128)));
  }
  std::string key = offer.key;
  pending_.emplace(std::move(key), Entry{std::move(offer), now + lifetime_});
  return {};
}

HandoffBook::Taken HandoffBook::take(const std::string& key, const std::vector<std::uint64_t>& blocks,
                                     Nanoseconds now, Offer& out) {
  expire(now);
  const auto found = pending_.find(key);
  if (found == pending_.end()) {
    const auto past = past_.find(key);
    if (past == past_.end()) return Taken::kUnknown;
    return past->second == Past::kTaken ? Taken::kReplayed : Taken::kExpired;
  }
  if (!blocks.empty() && blocks != found->second.offer.blocks) return Taken::kWrongBlocks;
  out = std::move(found->second.offer);
  pending_.erase(found);
  remember(key, Past::kTaken);
  ++taken_;
  return Taken::kTaken;
}

bool HandoffBook::release(const std::string& key) {
  if (pending_.erase(key) == 0) return false;
  remember(key, Past::kReleased);
  ++released_;
  return true;
}

void HandoffBook::expire(Nanoseconds now) {
  for (auto entry = pending_.begin(); entry != pending_.end();) {
    if (entry->second.until > now) {
      ++entry;
      continue;
    }
    remember(entry->first, Past::kExpired);
    ++expired_;
    entry = pending_.erase(entry);
  }
}

void HandoffBook::remember(const std::string& key, Past past) {
  past_.emplace(key, past);
  past_order_.push_back(key);
  if (past_order_.size() <= kRemembered) return;
  past_.erase(past_order_.front());
  past_order_.pop_front();
}

std::int64_t HandoffBook::pending_tokens() const {
  std::int64_t tokens = 0;
  for (const auto& [key, entry] : pending_) tokens += entry.offer.prompt_tokens;
  return tokens;
}

}  // namespace moesaic::emulator
