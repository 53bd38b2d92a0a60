// Which recorded request an arrival becomes. A request that runs is out of the deck until it has ended: the
// same text is never decoded twice at once, which would make every grouping look better than it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/random.hpp"
#include "core/result.hpp"
#include "simulate/recording.hpp"

namespace moesaic::simulate {

struct Mix {
  enum class Kind {
    kMixed,     ///< every idle request alike
    kSkewed,    ///< a share of the arrivals belongs to one domain
    kShifting,  ///< as skewed, but the domain changes every period
  };
  Kind kind = Kind::kMixed;
  double share = 0.9;       ///< of the arrivals that ask for the favoured domain
  std::string domain = {};  ///< of kSkewed; empty: the one with the most requests
  Nanoseconds period = std::chrono::seconds(30);
};

/// Errors (bad input): a domain that the recording lacks, a share outside [0, 1], a period that is not
/// positive.
Status validate(const Mix& mix, const Recording& recording);

class RequestDeck {
 public:
  /// REQUIRES: a valid mix; the recording outlives this.
  RequestDeck(const Recording& recording, const Mix& mix, std::uint64_t seed);

  /// An idle request for an arrival at that time, or nothing when all run. Arrivals that ask for the
  /// favoured domain get another one when all of it runs: counted in fallbacks().
  std::optional<std::uint32_t> draw(Nanoseconds at);
  /// REQUIRES: drawn and not put back.
  void put_back(std::uint32_t request);

  std::uint64_t fallbacks() const { return fallbacks_; }

 private:
  std::uint32_t take(std::size_t domain, std::uint32_t i);

  const Recording& recording_;
  Mix mix_;
  Pcg32 random_;
  std::vector<std::vector<std::uint32_t>> idle_;  ///< by domain
  std::vector<std::size_t> favoured_;             ///< domains in turn
  std::uint32_t idle_count_ = 0;
  std::uint64_t fallbacks_ = 0;
};

}  // namespace moesaic::simulate
