// What the figures of a profile mean, in sentences a person reads in a minute.
#pragma once

#include <string>
#include <vector>

#include "profile/profile.hpp"

namespace moesaic::profile {

struct Remark {
  std::string topic;    ///< "Grouping"
  std::string verdict;  ///< "pays": few words; the thresholds are in docs/profile.md
  enum class Mood { kNeutral, kGood, kBad } mood = Mood::kNeutral;
  std::string text;  ///< full sentences, with the numbers
};

/// One remark a topic, in reading order; topics the trace cannot tell are left out. Pure.
std::vector<Remark> in_words(const Profile& profile);

}  // namespace moesaic::profile
