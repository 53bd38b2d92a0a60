// Two profiles side by side: two models, two engines, two days.
#pragma once

#include <string>
#include <vector>

#include "core/json.hpp"
#include "profile/profile.hpp"

namespace moesaic::profile {

/// A figure that every profile has, or NaN. `key` is its name in --json.
struct Headline {
  std::string key, label, unit;
  double value = 0;
};
/// Always the same keys in the same order, for the same batch sizes.
std::vector<Headline> headlines(const Profile& profile);

/// What traces of the same layers and experts share. Layers [L]; loads are of each trace's main phase.
struct SameExperts {
  std::vector<double> jensen_shannon_bits;  ///< by layer
  std::vector<double> cosine;               ///< by layer
  std::vector<double> shared_busy;  ///< by layer: of the busiest quarter of a's experts, the share in b's too
  /// Max/mean over `gpus` on b: of a plan made on a, of one made on b itself, of the id order. By layer.
  std::vector<double> carried, own, contiguous;
  double lost = 0;  ///< mean(carried) / mean(own) - 1
  struct Domain {
    std::string name;
    double jensen_shannon_bits = 0;  ///< mean over layers
  };
  std::vector<Domain> domains;  ///< that both have
};

struct Comparison {
  std::vector<Headline> a, b;
  bool same_shape = false;  ///< the same layer ids and number of experts
  std::size_t gpus = 1;
  SameExperts same;    ///< where same_shape
  std::string cannot;  ///< why not, else
};

/// Pure. `a` is what was before or what is compared with, `b` the other.
Comparison compare(const Profile& a, const Profile& b);

/// "schema": "moesaic.profile-compare/1".
Json to_json(const Comparison& comparison, const Profile& a, const Profile& b);

}  // namespace moesaic::profile
