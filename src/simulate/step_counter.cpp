#include "simulate/step_counter.hpp"

#include <algorithm>
#include <bit>

#include "core/check.hpp"
#include "simulate/bit_rows.hpp"

namespace moesaic::simulate {
namespace {

std::int64_t busiest(std::span<const std::int64_t> of_gpus) { return std::ranges::max(of_gpus); }

}  // namespace

StepCounter::StepCounter(const Recording& recording, const DecoderPlan* plan)
    : words_(recording.words()),
      layers_(recording.shape.layers.size()),
      experts_(recording.shape.experts),
      any_(recording.words()) {
  if (plan == nullptr) return;
  const Placement& placement = plan->placement;
  const Topology& topology = placement.topology();
  MOESAIC_CHECK(placement.layers() == recording.shape.layers && placement.experts() == experts_);
  MOESAIC_CHECK(plan->rule == dispatch::Rule::kLocal || plan->rule == dispatch::Rule::kSglang);
  gpus_ = topology.gpus();
  gpus_per_node_ = topology.gpus_per_node;
  target_.resize(gpus_ * layers_ * experts_);
  for (std::size_t layer = 0; layer < layers_; ++layer) {
    dispatch::Chooser chooser(topology, experts_, placement.layer(layer), plan->rule,
                              placement.layers()[layer], 0);
    for (std::size_t source = 0; source < gpus_; ++source) {
      for (std::size_t expert = 0; expert < experts_; ++expert) {
        const GpuId gpu = chooser.choose({.expert = ExpertId(expert), .source = GpuId(source)});
        target_[(source * layers_ + layer) * experts_ + expert] = static_cast<std::uint16_t>(index(gpu));
      }
    }
  }
  stamp_.resize(layers_ * experts_ * gpus_);
  slots_.resize(layers_ * gpus_);
  copies_.resize(layers_ * gpus_);
  node_copies_.resize(layers_ * gpus_);
}

cost::StepLoad StepCounter::count(std::span<const Running> batch, std::int64_t& active) {
  return target_.empty() ? count_one_gpu(batch, active) : count_gpus(batch, active);
}

cost::StepLoad StepCounter::count_one_gpu(std::span<const Running> batch, std::int64_t& active) {
  std::ranges::fill(any_, 0);
  cost::StepLoad load{.tokens = static_cast<std::int64_t>(batch.size())};
  std::uint64_t* const any = any_.data();
  for (const Running& running : batch) {
    const std::uint64_t* const row = running.row;
    for (std::size_t w = 0; w < words_; ++w) any[w] |= row[w];
    load.kv_tokens += running.context;
  }
  active = load.experts = count_bits(any, words_);
  return load;
}

cost::StepLoad StepCounter::count_gpus(std::span<const Running> batch, std::int64_t& active) {
  ++now_;
  std::ranges::fill(slots_, 0);
  std::ranges::fill(copies_, 0);
  std::ranges::fill(node_copies_, 0);
  std::vector<std::int64_t> tokens(gpus_), kv(gpus_);
  active = 0;
  for (const Running& running : batch) {
    const std::size_t source = running.home;
    tokens[source] += 1;
    kv[source] += running.context;
    const std::uint16_t* const target = target_.data() + source * layers_ * experts_;
    for (std::size_t w = 0; w < words_; ++w) {
      for (std::uint64_t bits = running.row[w]; bits != 0; bits &= bits - 1) {
        const std::size_t cell = w * 64 + static_cast<std::size_t>(std::countr_zero(bits));
        const std::size_t layer = cell / experts_, gpu = target[cell];
        std::uint32_t& stamp = stamp_[cell * gpus_ + gpu];
        if (stamp != now_) {
          stamp = now_;
          ++slots_[layer * gpus_ + gpu];
          ++active;
        }
        if (gpu == source) continue;
        const bool same_node = gpu / gpus_per_node_ == source / gpus_per_node_;
        ++(same_node ? copies_ : node_copies_)[layer * gpus_ + source];
      }
    }
  }
  cost::StepLoad load{.tokens = busiest(tokens), .kv_tokens = busiest(kv)};
  for (std::size_t layer = 0; layer < layers_; ++layer) {
    const auto of = [&](const std::vector<std::int64_t>& all) {
      return busiest(std::span(all).subspan(layer * gpus_, gpus_));
    };
    load.experts += of(slots_);
    load.gpu_copies += of(copies_);
    load.node_copies += of(node_copies_);
  }
  return load;
}

}  // namespace moesaic::simulate
