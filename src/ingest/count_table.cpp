#include "ingest/count_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.hpp"
#include "core/limits.hpp"

namespace moesaic::ingest {
namespace {

/// Tokens behind counts [L, E] when every layer has the same whole number of them, else 0.
std::uint64_t tokens_of(std::span<const double> counts, std::size_t experts, std::size_t top_k) {
  double tokens = 0;
  for (std::size_t begin = 0; begin < counts.size(); begin += experts) {
    double sum = 0;
    for (const double count : counts.subspan(begin, experts)) sum += count;
    if (begin == 0) tokens = sum;
    if (sum != tokens) return 0;
  }
  tokens /= static_cast<double>(top_k);
  const bool whole = tokens == std::floor(tokens) && tokens < static_cast<double>(limits::kMaxTokens);
  return whole ? static_cast<std::uint64_t>(tokens) : 0;
}

}  // namespace

Status CountTable::expect(const CountPlanes& planes, const std::string& where) {
  if (planes.planes.empty() || planes.planes.size() > limits::kMaxLayers || planes.experts == 0 ||
      planes.experts > limits::kMaxExperts) {
    return bad_input(fmt::format("{}: counts of {} layers x {} experts, expected 1 to {} and 1 to {}", where,
                                 planes.planes.size(), planes.experts, limits::kMaxLayers,
                                 limits::kMaxExperts));
  }
  if (!started_) {
    planes_ = planes;
    started_ = true;
    return {};
  }
  if (planes == planes_) return {};
  return bad_input(
      fmt::format("{}: counts of {} layers x {} experts, expected the same {} layers x {} experts as "
                  "before; import the counts of one model at a time",
                  where, planes.planes.size(), planes.experts, planes_.planes.size(), planes_.experts));
}

Result<std::uint16_t> CountTable::domain(std::string_view name) {
  auto& domains = requests_.domains;
  auto found = std::find(domains.begin(), domains.end(), name);
  if (found == domains.end()) {
    if (domains.size() > UINT16_MAX)
      return bad_input("more than 65,536 domains; label coarser with --domain");
    found = domains.emplace(domains.end(), name);
  }
  return static_cast<std::uint16_t>(found - domains.begin());
}

std::uint32_t CountTable::request(const std::string& id, std::uint16_t domain) {
  std::string unique = id;
  for (std::size_t n = ++ids_[id]; n > 1; n = ++ids_[unique]) unique = fmt::format("{}#{}", id, n);
  requests_.start.push_back(0);
  requests_.prefill_tokens.push_back(0);
  requests_.decode_tokens.push_back(0);
  requests_.id.push_back(std::move(unique));
  requests_.domain.push_back(domain);
  return static_cast<std::uint32_t>(requests_.size() - 1);
}

void CountTable::add(const trace::CountRow& row, std::span<const double> counts) {
  MOESAIC_CHECK(started_ && counts.size() == planes_.planes.size() * planes_.experts);
  rows_.push_back(row);
  counts_.insert(counts_.end(), counts.begin(), counts.end());
}

Status CountTable::write(Output& output, const std::string& path, trace::CountUnit unit) {
  if (rows_.empty())
    return bad_input(fmt::format("{}: no counts there, so there is nothing to import", path));
  const std::size_t planes = planes_.planes.size(), experts = planes_.experts;
  std::vector<bool> dense(planes, planes_.zero_is_dense);
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] != 0) dense[i / experts % planes] = false;
  }
  ModelShape seen;
  seen.experts = experts;
  seen.top_k = planes_.top_k;
  seen.model_layers = planes_.model_layers;
  for (std::size_t p = 0; p < planes; ++p) {
    if (!dense[p]) seen.layers.push_back(planes_.planes[p]);
  }
  if (seen.layers.empty())
    return bad_input(fmt::format("{}: every count is zero, so there is nothing to import", path));

  trace::CountStore store;
  store.unit = unit;
  MOESAIC_ASSIGN(store.shape, output.settle_shape(seen, planes_.layers_known, path));
  std::vector<std::size_t> kept;
  for (std::size_t row = 0; row < store.shape.layers.size(); ++row) {
    const auto plane = planes_.layers_known ? std::lower_bound(planes_.planes.begin(), planes_.planes.end(),
                                                               store.shape.layers[row])
                                            : planes_.planes.begin() + static_cast<std::ptrdiff_t>(row);
    if (plane == planes_.planes.end() || (planes_.layers_known && *plane != store.shape.layers[row])) {
      return bad_input(
          fmt::format("{}: no counts for layer {}, which model \"{}\" has; give the model that made them",
                      path, index(store.shape.layers[row]), store.shape.model));
    }
    kept.push_back(static_cast<std::size_t>(plane - planes_.planes.begin()));
  }
  const std::size_t width = kept.size() * experts;
  store.counts.reserve(rows_.size() * width);
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    for (const std::size_t plane : kept) {
      const auto from = counts_.begin() + static_cast<std::ptrdiff_t>((r * planes + plane) * experts);
      store.counts.insert(store.counts.end(), from, from + static_cast<std::ptrdiff_t>(experts));
    }
    if (rows_[r].tokens == 0 && unit == trace::CountUnit::kTokens) {
      rows_[r].tokens = tokens_of(std::span(store.counts).last(width), experts, store.shape.top_k);
    }
  }
  counts_ = {};
  if (requests_.domains.empty()) requests_.domains.emplace_back();
  store.requests = std::move(requests_);
  store.rows = std::move(rows_);
  return output.counts(std::move(store));
}

}  // namespace moesaic::ingest
