#include "signature/space_fit.hpp"

#include <algorithm>
#include <vector>

#include "core/check.hpp"

namespace moesaic::signature {

Space FittedSpace::first(std::size_t count) const {
  MOESAIC_CHECK(count > 0 && count <= choice.order.size());
  std::vector<std::uint32_t> positions(choice.order.begin(),
                                       choice.order.begin() + static_cast<std::ptrdiff_t>(count));
  std::ranges::sort(positions);
  return restricted(all, positions);
}

FittedSpace fit_space(const ModelShape& shape, Transform transform, const CountsView& prefill,
                      const CountsView& decode, const LayerChoiceOptions& options, ThreadPool& pool) {
  std::vector<float> idf;
  if (transform == Transform::kCountIdf) idf = inverse_document_frequency(prefill);
  FittedSpace out{.all = all_layers(shape, transform, idf)};
  out.choice = choose_layers(out.all, prefill, decode, options, pool);
  return out;
}

Result<solve::KmeansResult> cluster_signatures(const Space& space, const CountsView& prefill,
                                               const solve::KmeansOptions& options, ThreadPool& pool) {
  return solve::kmeans(signatures(space, prefill), options, pool);
}

}  // namespace moesaic::signature
