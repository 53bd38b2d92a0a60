#include "profile/layer_parcel.hpp"

#include "comm/parcel.hpp"

namespace moesaic::profile {
namespace {

template <class T>
void put_all(comm::Packer& out, const std::vector<T>& values) {
  out.put_span(std::span<const T>(values));
}

void put_cliques(comm::Packer& out, const std::vector<Clique>& cliques) {
  out.put(std::uint64_t{cliques.size()});
  for (const Clique& clique : cliques) {
    put_all(out, clique.experts);
    out.put(clique.weakest_lift);
  }
}

std::vector<Clique> get_cliques(comm::Unpacker& in) {
  std::vector<Clique> out(in.get<std::uint64_t>());
  for (Clique& clique : out) {
    clique.experts = in.get_vector<std::uint16_t>();
    clique.weakest_lift = in.get<double>();
  }
  return out;
}

}  // namespace

comm::Bytes pack(const LayerProfile& layer) {
  comm::Packer out;
  put_all(out, layer.counts.loads);
  put_all(out, layer.counts.windows);
  put_all(out, layer.steps);
  put_all(out, layer.same_kind_steps);
  out.put(layer.reuse);
  out.put(layer.correlation.pooled_pearson);
  out.put(layer.correlation.pooled_spearman);
  put_all(out, layer.correlation.request_pearson);
  put_all(out, layer.correlation.request_spearman);
  out.put(layer.correlation.after);
  out.put(layer.together.tokens);
  out.put(layer.together.mean_lift);
  out.put(layer.together.uniform_lift);
  put_all(out, layer.together.strongest);
  put_cliques(out, layer.together.cliques);
  out.put(layer.next.tokens);
  out.put(layer.next.information_bits);
  out.put(layer.next.followed);
  out.put(layer.next.followed_independent);
  put_all(out, layer.next.strongest);
  put_all(out, layer.request_cosines);
  put_all(out, layer.group_loads);
  out.put(layer.own.rows);
  put_all(out, layer.own.kept);
  out.put(layer.missing);
  return out.take();
}

LayerProfile unpack(std::span<const std::byte> bytes) {
  comm::Unpacker in(bytes);
  LayerProfile out;
  out.counts.loads = in.get_vector<double>();
  out.counts.windows = in.get_vector<double>();
  out.steps = in.get_vector<StepFigure>();
  out.same_kind_steps = in.get_vector<StepFigure>();
  out.reuse = in.get<Reuse>();
  out.correlation.pooled_pearson = in.get<double>();
  out.correlation.pooled_spearman = in.get<double>();
  out.correlation.request_pearson = in.get_vector<double>();
  out.correlation.request_spearman = in.get_vector<double>();
  out.correlation.after = in.get<decltype(out.correlation.after)>();
  out.together.tokens = in.get<std::uint64_t>();
  out.together.mean_lift = in.get<double>();
  out.together.uniform_lift = in.get<double>();
  out.together.strongest = in.get_vector<PairFigure>();
  out.together.cliques = get_cliques(in);
  out.next.tokens = in.get<std::uint64_t>();
  out.next.information_bits = in.get<double>();
  out.next.followed = in.get<double>();
  out.next.followed_independent = in.get<double>();
  out.next.strongest = in.get_vector<PairFigure>();
  out.request_cosines = in.get_vector<float>();
  out.group_loads = in.get_vector<double>();
  out.own.rows = in.get<double>();
  out.own.kept = in.get_vector<double>();
  out.missing = in.get<std::uint64_t>();
  return out;
}

}  // namespace moesaic::profile
