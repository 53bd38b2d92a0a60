#include "profile/layer_parcel.hpp"

#include "comm/parcel.hpp"

namespace moesaic::profile {
namespace {

/// Every field of a layer, in the order they travel in.
template <class Layer, class Each>
void each_field(Layer& layer, const Each& each) {
  each(layer.counts.loads);
  each(layer.counts.windows);
  each(layer.steps);
  each(layer.same_kind_steps);
  each(layer.reuse);
  each(layer.correlation.pooled_pearson);
  each(layer.correlation.pooled_spearman);
  each(layer.correlation.request_pearson);
  each(layer.correlation.request_spearman);
  each(layer.correlation.after);
  each(layer.together.tokens);
  each(layer.together.mean_lift);
  each(layer.together.uniform_lift);
  each(layer.together.strongest);
  each(layer.together.cliques);
  each(layer.next.tokens);
  each(layer.next.information_bits);
  each(layer.next.followed);
  each(layer.next.followed_independent);
  each(layer.next.strongest);
  each(layer.request_cosines);
  each(layer.group_loads);
  each(layer.own.rows);
  each(layer.own.kept);
  each(layer.missing);
}

struct Put {
  comm::Packer& out;
  template <class T>
  void operator()(const T& field) const {
    out.put(field);
  }
  void operator()(const std::vector<Clique>& cliques) const {
    out.put(std::uint64_t{cliques.size()});
    for (const Clique& clique : cliques) {
      out.put(clique.experts);
      out.put(clique.weakest_lift);
    }
  }
};

struct Get {
  comm::Unpacker& in;
  template <class T>
  void operator()(T& field) const {
    in.get(field);
  }
  void operator()(std::vector<Clique>& cliques) const {
    cliques.resize(in.get<std::uint64_t>());
    for (Clique& clique : cliques) {
      in.get(clique.experts);
      in.get(clique.weakest_lift);
    }
  }
};

}  // namespace

comm::Bytes pack(const LayerProfile& layer) {
  comm::Packer out;
  each_field(layer, Put{out});
  return out.take();
}

LayerProfile unpack(std::span<const std::byte> bytes) {
  comm::Unpacker in(bytes);
  LayerProfile out;
  each_field(out, Get{in});
  return out;
}

}  // namespace moesaic::profile
