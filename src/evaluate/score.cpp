#include "evaluate/score.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "comm/parcel.hpp"
#include "core/balance.hpp"
#include "core/check.hpp"

namespace moesaic::evaluate {
namespace {

std::vector<std::int64_t> node_rows(std::span<const std::int64_t> gpu_rows, const Topology& topology) {
  std::vector<std::int64_t> rows(topology.nodes);
  for (std::size_t gpu = 0; gpu < gpu_rows.size(); ++gpu) rows[gpu / topology.gpus_per_node] += gpu_rows[gpu];
  return rows;
}

ModeScore mode_score(std::span<const traffic::LayerTraffic> layers,
                     traffic::Copies traffic::LayerTraffic::* mode, double token_layers, double tokens,
                     double bytes_per_copy) {
  std::int64_t node = 0, gpu = 0, padded = 0;
  for (const traffic::LayerTraffic& layer : layers) {
    node += (layer.*mode).node;
    gpu += (layer.*mode).gpu;
    padded += (layer.*mode).padded_node;
  }
  return {.node_copies_per_token_layer = static_cast<double>(node) / token_layers,
          .gpu_copies_per_token_layer = static_cast<double>(gpu) / token_layers,
          .inter_node_bytes_per_token = static_cast<double>(node) * bytes_per_copy / tokens,
          .padded_node_copies_per_token_layer = static_cast<double>(padded) / token_layers};
}

/// 95th percentile, nearest rank.
double percentile95(std::vector<double>& values) {
  if (values.empty()) return 1;
  const std::size_t rank = (values.size() * 95 + 99) / 100 - 1;
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(rank));
  return values[rank];
}

/// Node-to-node copies of all layers, a token-layer.
std::vector<double> flow(std::span<const traffic::LayerTraffic> layers,
                         traffic::Copies traffic::LayerTraffic::* mode, double token_layers) {
  std::vector<double> sum;
  for (const traffic::LayerTraffic& layer : layers) {
    const std::vector<std::int64_t>& pairs = (layer.*mode).node_to_node;
    sum.resize(pairs.size());
    for (std::size_t i = 0; i < pairs.size(); ++i) sum[i] += static_cast<double>(pairs[i]);
  }
  for (double& pair : sum) pair /= token_layers;
  return sum;
}

Score combine(std::span<const traffic::LayerTraffic> layers, const Placement& placement,
              double home_imbalance, std::size_t steps, double bytes_per_copy) {
  Score score;
  score.tokens = layers.empty() ? 0 : layers[0].tokens;
  score.home_max_over_mean = home_imbalance;
  const auto layer_count = static_cast<double>(layers.size());
  const double tokens = std::max<double>(1, static_cast<double>(score.tokens));
  score.dedup =
      mode_score(layers, &traffic::LayerTraffic::dedup, tokens * layer_count, tokens, bytes_per_copy);
  score.per_expert =
      mode_score(layers, &traffic::LayerTraffic::per_expert, tokens * layer_count, tokens, bytes_per_copy);
  score.dedup_flow = flow(layers, &traffic::LayerTraffic::dedup, tokens * layer_count);
  score.per_expert_flow = flow(layers, &traffic::LayerTraffic::per_expert, tokens * layer_count);
  std::vector<std::int64_t> summed(placement.topology().gpus());
  std::vector<double> step_imbalances;
  double node = 0, gpu = 0, jain = 0, active = 0;
  for (std::size_t row = 0; row < layers.size(); ++row) {
    const traffic::LayerTraffic& layer = layers[row];
    const LayerScore one{.layer = placement.layers()[row],
                         .dedup_node_copies = static_cast<double>(layer.dedup.node) / tokens,
                         .per_expert_node_copies = static_cast<double>(layer.per_expert.node) / tokens,
                         .node_max_over_mean = max_over_mean(node_rows(layer.gpu_rows, placement.topology())),
                         .gpu_max_over_mean = max_over_mean(layer.gpu_rows),
                         .gpu_rows = layer.gpu_rows};
    node += one.node_max_over_mean;
    gpu += one.gpu_max_over_mean;
    jain += jain_index(layer.gpu_rows);
    active += static_cast<double>(layer.activated_slots);
    for (std::size_t g = 0; g < summed.size(); ++g) summed[g] += layer.gpu_rows[g];
    step_imbalances.insert(step_imbalances.end(), layer.step_gpu_imbalance.begin(),
                           layer.step_gpu_imbalance.end());
    score.layers.push_back(one);
  }
  score.node_max_over_mean = node / layer_count;
  score.gpu_max_over_mean = gpu / layer_count;
  score.jain_gpu = jain / layer_count;
  score.jain_gpu_summed = jain_index(summed);
  double step_sum = 0;
  for (const double value : step_imbalances) step_sum += value;
  if (!step_imbalances.empty()) {
    score.gpu_max_over_mean_step = step_sum / static_cast<double>(step_imbalances.size());
  }
  score.gpu_max_over_mean_step_p95 = percentile95(step_imbalances);
  if (steps > 0) score.active_slots_per_step_layer = active / (static_cast<double>(steps) * layer_count);
  return score;
}

/// Every figure of a Score but `tokens` and `layers`, for means and JSON alike.
const std::map<std::string_view, std::function<double&(Score&)>>& figures() {
  static const std::map<std::string_view, std::function<double&(Score&)>> all = {
      {"node_max_over_mean", [](Score& s) -> double& { return s.node_max_over_mean; }},
      {"gpu_max_over_mean", [](Score& s) -> double& { return s.gpu_max_over_mean; }},
      {"gpu_max_over_mean_step", [](Score& s) -> double& { return s.gpu_max_over_mean_step; }},
      {"gpu_max_over_mean_step_p95", [](Score& s) -> double& { return s.gpu_max_over_mean_step_p95; }},
      {"home_max_over_mean", [](Score& s) -> double& { return s.home_max_over_mean; }},
      {"jain_gpu", [](Score& s) -> double& { return s.jain_gpu; }},
      {"jain_gpu_summed", [](Score& s) -> double& { return s.jain_gpu_summed; }},
      {"active_slots_per_step_layer", [](Score& s) -> double& { return s.active_slots_per_step_layer; }},
  };
  return all;
}

const std::map<std::string_view, double ModeScore::*>& mode_figures() {
  static const std::map<std::string_view, double ModeScore::*> all = {
      {"node_copies_per_token_layer", &ModeScore::node_copies_per_token_layer},
      {"gpu_copies_per_token_layer", &ModeScore::gpu_copies_per_token_layer},
      {"inter_node_bytes_per_token", &ModeScore::inter_node_bytes_per_token},
      {"padded_node_copies_per_token_layer", &ModeScore::padded_node_copies_per_token_layer},
  };
  return all;
}

void pack(comm::Packer& out, const traffic::Copies& copies) {
  out.put(copies.node);
  out.put(copies.gpu);
  out.put(copies.padded_node);
  out.put_span(std::span<const std::int64_t>(copies.node_to_node));
}

traffic::Copies unpack_copies(comm::Unpacker& in) {
  traffic::Copies copies;
  copies.node = in.get<std::int64_t>();
  copies.gpu = in.get<std::int64_t>();
  copies.padded_node = in.get<std::int64_t>();
  copies.node_to_node = in.get_vector<std::int64_t>();
  return copies;
}

void pack(comm::Packer& out, const traffic::LayerTraffic& layer) {
  out.put(layer.tokens);
  out.put(layer.rows);
  pack(out, layer.dedup);
  pack(out, layer.per_expert);
  out.put_span(std::span<const std::int64_t>(layer.gpu_rows));
  out.put_span(std::span<const double>(layer.step_gpu_imbalance));
  out.put(layer.activated_slots);
}

traffic::LayerTraffic unpack_layer(comm::Unpacker& in) {
  traffic::LayerTraffic layer;
  layer.tokens = in.get<std::int64_t>();
  layer.rows = in.get<std::int64_t>();
  layer.dedup = unpack_copies(in);
  layer.per_expert = unpack_copies(in);
  layer.gpu_rows = in.get_vector<std::int64_t>();
  layer.step_gpu_imbalance = in.get_vector<double>();
  layer.activated_slots = in.get<std::int64_t>();
  return layer;
}

/// Layers dealt out in turn: row belongs to rank row mod ranks.
bool is_mine(std::size_t row, const comm::Comm& comm) { return row % comm.size() == comm.rank(); }

/// Gives every rank the layers of the others. [placements][layers]
Status share_layers(std::vector<std::vector<traffic::LayerTraffic>>& traffic, comm::Comm& comm) {
  if (comm.size() == 1) return {};
  const std::size_t layers = traffic.empty() ? 0 : traffic[0].size();
  comm::Packer mine;
  for (std::size_t row = comm.rank(); row < layers; row += comm.size()) {
    for (const auto& placement : traffic) pack(mine, placement[row]);
  }
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> all, comm.all_gather(mine.take()));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    comm::Unpacker theirs(all[rank]);
    for (std::size_t row = rank; row < layers; row += comm.size()) {
      for (auto& placement : traffic) placement[row] = unpack_layer(theirs);
    }
  }
  return {};
}

}  // namespace

Result<std::vector<Score>> score_placements(const SelectedTokens& tokens, const Homes& homes,
                                            std::span<const Placement* const> placements,
                                            const ScoreOptions& options, ThreadPool& pool) {
  const ModelShape& shape = tokens.source().shape();
  MOESAIC_CHECK(homes.attention == options.objective.attention);
  std::size_t home_count = 0;
  for (const Placement* placement : placements) {
    MOESAIC_CHECK(placement->layers() == shape.layers && placement->experts() == shape.experts);
    home_count = placement->topology().homes(homes.attention);
  }
  const std::vector<traffic::Segment> segments = tokens.segments(homes.of_request);
  std::vector<std::int64_t> home_tokens(home_count);
  for (const traffic::Segment& segment : segments) {
    home_tokens.at(index(segment.home)) += static_cast<std::int64_t>(segment.count);
  }
  const traffic::Steps steps = traffic::make_steps(segments, home_count, options.step_requests);
  std::vector<std::vector<traffic::LayerTraffic>> traffic(
      placements.size(), std::vector<traffic::LayerTraffic>(shape.layers.size()));
  const Status scored = pool.try_parallel_for(shape.layers.size(), [&](std::size_t row) -> Status {
    if (!is_mine(row, *options.comm)) return {};
    MOESAIC_ASSIGN(const std::vector<ExpertId> experts, tokens.read_layer(row));
    const traffic::LayerTokens layer{shape.layers[row], shape.top_k, experts, segments};
    for (std::size_t p = 0; p < placements.size(); ++p) {
      traffic[p][row] = traffic::score_layer(layer, placements[p]->topology(), shape.experts,
                                             placements[p]->layer(row), options.objective, &steps);
    }
    return {};
  });
  MOESAIC_TRY(comm::agree(*options.comm, scored));
  MOESAIC_TRY(share_layers(traffic, *options.comm));
  std::vector<Score> scores;
  for (std::size_t p = 0; p < placements.size(); ++p) {
    scores.push_back(
        combine(traffic[p], *placements[p], max_over_mean(home_tokens), steps.count, options.bytes_per_copy));
  }
  return scores;
}

Result<std::vector<std::vector<Score>>> score_parts(const SelectedTokens& tokens, const Homes& homes,
                                                    std::span<const std::uint16_t> part_of, std::size_t parts,
                                                    std::span<const Placement* const> placements,
                                                    const ScoreOptions& options, ThreadPool& pool) {
  const ModelShape& shape = tokens.source().shape();
  MOESAIC_CHECK(homes.attention == options.objective.attention && part_of.size() == tokens.requests().size());
  std::vector<std::vector<traffic::Segment>> segments(parts);
  const std::vector<traffic::Segment> all = tokens.segments(homes.of_request);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (part_of[i] < parts) segments[part_of[i]].push_back(all[i]);
  }
  // [placements x parts][layers], as share_layers() wants it
  std::vector<std::vector<traffic::LayerTraffic>> traffic(
      placements.size() * parts, std::vector<traffic::LayerTraffic>(shape.layers.size()));
  const Status scored = pool.try_parallel_for(shape.layers.size(), [&](std::size_t row) -> Status {
    if (!is_mine(row, *options.comm)) return {};
    MOESAIC_ASSIGN(const std::vector<ExpertId> experts, tokens.read_layer(row));
    for (std::size_t i = 0; i < traffic.size(); ++i) {
      const traffic::LayerTokens layer{shape.layers[row], shape.top_k, experts, segments[i % parts]};
      const Placement& placement = *placements[i / parts];
      traffic[i][row] = traffic::score_layer(layer, placement.topology(), shape.experts, placement.layer(row),
                                             options.objective);
    }
    return {};
  });
  MOESAIC_TRY(comm::agree(*options.comm, scored));
  MOESAIC_TRY(share_layers(traffic, *options.comm));
  std::vector<std::vector<Score>> scores(placements.size());
  for (std::size_t i = 0; i < traffic.size(); ++i) {
    const Placement& placement = *placements[i / parts];
    std::vector<std::int64_t> home_tokens(placement.topology().homes(homes.attention));
    for (const traffic::Segment& segment : segments[i % parts])
      home_tokens.at(index(segment.home)) += static_cast<std::int64_t>(segment.count);
    Score score = combine(traffic[i], placement, max_over_mean(home_tokens), 0, options.bytes_per_copy);
    if (score.tokens == 0) {
      constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
      score.dedup = score.per_expert = {kUnknown, kUnknown, kUnknown, kUnknown};
      score.node_max_over_mean = score.gpu_max_over_mean = kUnknown;
    }
    scores[i / parts].push_back(std::move(score));
  }
  return scores;
}

Score mean(std::span<const Score> scores) {
  MOESAIC_CHECK(!scores.empty());
  Score sum = scores[0];
  for (Score other : scores.subspan(1)) {
    for (const auto& [name, figure] : figures()) figure(sum) += figure(other);
    for (const auto& [name, figure] : mode_figures()) {
      sum.dedup.*figure += other.dedup.*figure;
      sum.per_expert.*figure += other.per_expert.*figure;
    }
    sum.tokens += other.tokens;
  }
  const auto n = static_cast<double>(scores.size());
  for (const auto& [name, figure] : figures()) figure(sum) /= n;
  for (const auto& [name, figure] : mode_figures()) {
    sum.dedup.*figure /= n;
    sum.per_expert.*figure /= n;
  }
  sum.tokens /= static_cast<std::int64_t>(scores.size());
  if (scores.size() > 1) {  // layers of different splits are not one layer
    sum.layers.clear();
    sum.dedup_flow.clear();
    sum.per_expert_flow.clear();
  }
  return sum;
}

Score score_counts(std::span<const double> counts, const Placement& placement) {
  const std::size_t experts = placement.experts(), layers = placement.layers().size();
  MOESAIC_CHECK(counts.size() % (layers * experts) == 0);
  // Integer loads keep the sums exact: shares are scaled by 2^20, replicas by a common multiple is not
  // needed at that resolution.
  constexpr double kScale = 0x1p20;
  std::vector<traffic::LayerTraffic> traffic(layers);
  for (std::size_t row = 0; row < layers; ++row) {
    std::vector<double> load(experts);
    for (std::size_t at = 0; at < counts.size(); at += layers * experts) {
      for (std::size_t e = 0; e < experts; ++e) load[e] += counts[at + row * experts + e];
    }
    std::vector<double> copies(experts);
    const auto slots = placement.layer(row);
    for (const ExpertId expert : slots) copies[index(expert)] += 1;
    traffic[row].gpu_rows.resize(placement.topology().gpus());
    std::vector<double> gpu(placement.topology().gpus());
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      gpu[index(placement.gpu_of(SlotId(slot)))] += load[index(slots[slot])] / copies[index(slots[slot])];
    }
    for (std::size_t g = 0; g < gpu.size(); ++g) {
      traffic[row].gpu_rows[g] = static_cast<std::int64_t>(std::llround(gpu[g] * kScale));
    }
  }
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  Score score = combine(traffic, placement, kUnknown, 0, kUnknown);
  constexpr ModeScore kNoMode{kUnknown, kUnknown, kUnknown, kUnknown};
  score.dedup = score.per_expert = kNoMode;
  score.gpu_max_over_mean_step = score.gpu_max_over_mean_step_p95 = score.active_slots_per_step_layer =
      kUnknown;
  for (LayerScore& layer : score.layers) layer.dedup_node_copies = layer.per_expert_node_copies = kUnknown;
  return score;
}

Json to_json(const Score& score, bool layers) {
  Json json;
  Score copy = score;
  for (const auto& [name, figure] : figures()) json[name] = figure(copy);
  for (const auto& [name, figure] : mode_figures()) {
    json["dedup"][name] = score.dedup.*figure;
    json["per_expert"][name] = score.per_expert.*figure;
  }
  json["tokens"] = score.tokens;
  if (layers) {
    Json::Array list;
    for (const LayerScore& layer : score.layers) {
      Json one;
      one["layer"] = index(layer.layer);
      one["dedup_node_copies_per_token"] = layer.dedup_node_copies;
      one["per_expert_node_copies_per_token"] = layer.per_expert_node_copies;
      one["node_max_over_mean"] = layer.node_max_over_mean;
      one["gpu_max_over_mean"] = layer.gpu_max_over_mean;
      list.push_back(std::move(one));
    }
    json["layers"] = std::move(list);
  }
  return json;
}

}  // namespace moesaic::evaluate
