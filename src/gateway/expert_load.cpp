#include "gateway/expert_load.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/check.hpp"
#include "signature/dot.hpp"

namespace moesaic::gateway {
namespace {

std::vector<std::uint32_t> in_order(std::size_t cells) {
  std::vector<std::uint32_t> order(cells);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

}  // namespace

ExpertLoad::Place::Place(std::size_t cells) : usage(in_order(cells)) {}

ExpertLoad::ExpertLoad(signature::Predictor predictor)
    : predictor_(std::move(predictor)), scratch_(predictor_), candidate_(predictor_.width()) {
  MOESAIC_CHECK(signature::validate(predictor_).has_value());
}

ExpertLoad::Place& ExpertLoad::at(routing::WorkerId place) {
  return places_.try_emplace(place, candidate_.size()).first->second;
}

void ExpertLoad::up(routing::WorkerId place) { at(place).up = true; }

void ExpertLoad::down(routing::WorkerId place) {
  const auto found = places_.find(place);
  if (found == places_.end()) return;
  found->second.up = false;  // its requests end one by one
  if (found->second.requests == 0) places_.erase(found);
}

std::optional<routing::Locality> ExpertLoad::placed(const routing::Request& request,
                                                    routing::WorkerId place) {
  finished(request.id);
  const bool known = request.counts.size() == candidate_.size() && request.counted_tokens > 0;
  std::optional<routing::Locality> locality;
  if (known) {
    signature::predict(predictor_, request.counts, request.counted_tokens, candidate_, scratch_);
    const double wanted = std::accumulate(candidate_.begin(), candidate_.end(), 0.0);
    const auto shared = [&](const Place& there) {
      const auto added = static_cast<double>(signature::dot(there.usage.idle(), candidate_));
      return std::clamp(1 - added / wanted, 0.0, 1.0);
    };
    if (wanted > 0) {
      locality = routing::Locality{.here = shared(at(place)), .mean = 0};
      std::size_t counted = 0;
      for (const auto& [id, there] : places_) {
        if (!there.up) continue;
        locality->mean += shared(there);
        ++counted;
      }
      if (counted > 0) locality->mean /= static_cast<double>(counted);
    }
  } else {
    std::ranges::copy(predictor_.mean, candidate_.begin());
  }
  Placed entry{.place = place, .usage = std::vector<routing::Survival>(candidate_.size())};
  routing::to_survival(candidate_, entry.usage);
  Place& there = at(place);
  there.usage.add(entry.usage);
  ++there.requests;
  requests_.emplace(request.id, std::move(entry));
  return locality;
}

void ExpertLoad::finished(routing::RequestId request) {
  const auto found = requests_.find(request);
  if (found == requests_.end()) return;
  const auto place = places_.find(found->second.place);
  MOESAIC_CHECK(place != places_.end());
  place->second.usage.remove(found->second.usage);
  --place->second.requests;
  if (place->second.requests == 0 && !place->second.up) places_.erase(place);
  requests_.erase(found);
}

void ExpertLoad::learnt(const signature::Predictor& predictor) {
  if (predictor.layers != predictor_.layers || predictor.experts != predictor_.experts) return;
  predictor_ = predictor;
  scratch_ = signature::PredictionScratch(predictor_);
}

double ExpertLoad::expected(routing::WorkerId place) const {
  const auto found = places_.find(place);
  return found == places_.end() || found->second.requests == 0 ? 0 : found->second.usage.active();
}

}  // namespace moesaic::gateway
