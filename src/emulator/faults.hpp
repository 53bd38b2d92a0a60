// What an emulated engine can be told to do wrong.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace moesaic::emulator {

enum class Fault {
  kNone,
  kRefuse,          ///< answers 503
  kError,           ///< answers 500
  kHang,            ///< takes the request and never answers
  kReset,           ///< breaks the connection instead of answering
  kResetDuring,     ///< breaks it in the middle of the answer
  kStall,           ///< stops in the middle of the answer and keeps the connection open
  kEndEarly,        ///< ends a stream in the middle, cleanly, without its last word
  kSlow,            ///< every step takes ten times as long
  kGarbage,         ///< bytes that are no HTTP
  kGarbageBody,     ///< 200 with a body that is no JSON
  kOversized,       ///< an answer without end
  kOversizedHead,   ///< a head without end
  kOversizedEvent,  ///< a stream whose first event does not end
  kLostHandoff,     ///< a prefill reply without its handoff
};

inline constexpr struct {
  Fault fault;
  std::string_view name;
} kFaultNames[] = {
    {Fault::kNone, "none"},
    {Fault::kRefuse, "refuse"},
    {Fault::kError, "error"},
    {Fault::kHang, "hang"},
    {Fault::kReset, "reset"},
    {Fault::kResetDuring, "reset-during"},
    {Fault::kStall, "stall"},
    {Fault::kEndEarly, "end-early"},
    {Fault::kSlow, "slow"},
    {Fault::kGarbage, "garbage"},
    {Fault::kGarbageBody, "garbage-body"},
    {Fault::kOversized, "oversized"},
    {Fault::kOversizedHead, "oversized-head"},
    {Fault::kOversizedEvent, "oversized-event"},
    {Fault::kLostHandoff, "lost-handoff"},
};

inline std::optional<Fault> fault_of(std::string_view name) {
  for (const auto& entry : kFaultNames) {
    if (entry.name == name) return entry.fault;
  }
  return std::nullopt;
}

}  // namespace moesaic::emulator
