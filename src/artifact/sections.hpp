// The blocks that plan.json and router.json share: the model, and the traffic a file was made from.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "artifact/fields.hpp"
#include "core/json.hpp"
#include "core/model_shape.hpp"
#include "core/selection.hpp"

namespace moesaic::artifact {

/// The largest seed a file may hold.
inline constexpr std::uint64_t kAnySeed = std::numeric_limits<std::uint64_t>::max();

/// The traffic that a plan or router was made from.
struct PlanSource {
  std::string trace_digest;        ///< trace::Trace::digest()
  std::string trace_name;          ///< base name, for people
  std::string requests = "train";  ///< "all", "train", "heldout" or "@file"
  std::uint64_t split_seed = 0;
  double heldout_share = kHeldoutShare;
  Phase phase = Phase::kDecode;
  PredictFrom predict_from = {};
  /// [first, second) of the windows; absent = all.
  std::optional<std::pair<std::uint32_t, std::uint32_t>> windows = {};
  bool operator==(const PlanSource&) const = default;
};

Json shape_json(const ModelShape& shape);
Json source_json(const PlanSource& source);

/// Read the object under `key` of `parent`. What is wrong is noted there; the value returned then is a
/// valid one of no meaning.
ModelShape read_shape(Fields& parent, std::string_view key);
PlanSource read_source(Fields& parent, std::string_view key);

}  // namespace moesaic::artifact
