#include "profile/clusters.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "profile/layer_pass.hpp"
#include "profile/shared_layers.hpp"
#include "profile/statistics.hpp"
#include "solve/balanced_kmeans.hpp"

namespace moesaic::profile {
namespace {

constexpr std::size_t kLayers = 8;

double agreement(const std::vector<std::uint32_t>& clusters, std::size_t count,
                 const std::vector<std::size_t>& labels, std::size_t kinds) {
  std::vector<double> joint(count * kinds), of_cluster(count), of_label(kinds);
  const auto n = static_cast<double>(clusters.size());
  for (std::size_t i = 0; i < clusters.size(); ++i) {
    joint[clusters[i] * kinds + labels[i]] += 1 / n;
    of_cluster[clusters[i]] += 1 / n;
    of_label[labels[i]] += 1 / n;
  }
  const auto entropy = [](const std::vector<double>& shares) {
    double out = 0;
    for (const double p : shares) out -= p > 0 ? p * std::log(p) : 0;
    return out;
  };
  const double hc = entropy(of_cluster), hl = entropy(of_label);
  return hc > 0 && hl > 0 ? (hc + hl - entropy(joint)) / std::sqrt(hc * hl) : kNothing;
}

}  // namespace

Result<Clusters> find_clusters(const trace::Trace& trace, const Walk& walk, std::size_t clusters,
                               std::size_t groups, ThreadPool& pool, comm::Comm& comm) {
  Clusters out;
  out.agreement = kNothing;
  const std::size_t requests = walk.sampled.size(), experts = trace.shape().experts;
  if (requests < 4 * std::max(clusters, groups)) return out;
  const std::size_t layers = trace.shape().layers.size(), used = std::min(kLayers, layers);
  using Usage = std::vector<float>;
  MOESAIC_ASSIGN(
      const std::vector<Usage> usage,
      share_items<Usage>(
          comm, pool, used,
          [&](std::size_t i) { return sampled_usage(trace, walk, (2 * i + 1) * layers / (2 * used)); },
          [](const Usage& rows) {
            comm::Packer packer;
            packer.put_span(std::span<const float>(rows));
            return packer.take();
          },
          [](std::span<const std::byte> bytes) { return comm::Unpacker(bytes).get_vector<float>(); }));
  solve::SparseRows rows;
  rows.width = used * experts;
  std::vector<float> dense(rows.width);
  for (std::size_t r = 0; r < requests; ++r) {
    for (std::size_t i = 0; i < used; ++i) {
      for (std::size_t e = 0; e < experts; ++e) dense[i * experts + e] = std::sqrt(usage[i][r * experts + e]);
    }
    rows.append(dense);
  }
  solve::normalise(rows);
  MOESAIC_ASSIGN(const solve::KmeansResult found,
                 solve::kmeans(rows, {.clusters = clusters, .balanced = false, .max_iterations = 30}, pool));
  MOESAIC_ASSIGN(const solve::KmeansResult balanced,
                 solve::kmeans(rows, {.clusters = groups, .balanced = true, .max_iterations = 30}, pool));
  out.group_of_sampled = balanced.cluster_of_item;
  out.within = 1 - found.objective / static_cast<double>(requests);
  // Clusters are numbered by falling size.
  std::vector<std::size_t> size(clusters), order(clusters), rank(clusters);
  for (const std::uint32_t c : found.cluster_of_item) ++size[c];
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return size[a] > size[b]; });
  for (std::size_t i = 0; i < clusters; ++i) rank[order[i]] = i;
  for (const std::uint32_t c : found.cluster_of_item)
    out.cluster_of_sampled.push_back(static_cast<std::uint32_t>(rank[c]));
  while (!order.empty() && size[order.back()] == 0) order.pop_back();
  for (const std::size_t c : order) out.sizes.push_back(size[c]);
  out.count = out.sizes.size();
  out.by_domain.assign(out.count * walk.domains.size(), 0);
  for (const Segment& s : walk.segments) {
    if (s.sampled != kNone)
      ++out.by_domain[out.cluster_of_sampled[s.sampled] * walk.domains.size() + s.domain];
  }
  std::vector<std::size_t> labels;
  for (const std::uint32_t r : walk.sampled) labels.push_back(trace.requests().domain[r]);
  if (walk.domains.size() > 1)
    out.agreement = agreement(out.cluster_of_sampled, out.count, labels, trace.requests().domains.size());
  return out;
}

}  // namespace moesaic::profile
