// Signatures on real traces: do they tell what a request is, and how it will decode?
#include "support/real_requests.hpp"

#include <algorithm>
#include <cstdio>

#include "core/selection.hpp"
#include "signature/layer_choice.hpp"
#include "signature/prediction.hpp"
#include "signature/type_accuracy.hpp"
#include "support/shared_data.hpp"

namespace moesaic::signature {
namespace {

ModelShape shape_of(const testing::RealRequests& requests) {
  ModelShape shape{
      .model = "", .model_layers = requests.layers, .layers = {}, .experts = requests.experts, .top_k = 1};
  for (std::size_t l = 0; l < requests.layers; ++l)
    shape.layers.push_back(LayerId(static_cast<std::uint16_t>(l)));
  return shape;
}

struct Counts {
  std::vector<float> values;
  std::vector<std::uint32_t> domains;
};

Counts pick(const testing::RealRequests& requests, const std::vector<float>& from,
            std::span<const std::uint32_t> which) {
  Counts out;
  const std::size_t width = requests.layers * requests.experts;
  for (const std::uint32_t r : which) {
    const auto row = std::span(from).subspan(r * width, width);
    out.values.insert(out.values.end(), row.begin(), row.end());
    out.domains.push_back(requests.domains[r]);
  }
  return out;
}

/// Share of held-out requests whose domain the signature tells, mean over seeds of the split.
double accuracy(const testing::RealRequests& requests, std::size_t domains, Transform transform, int seeds) {
  double sum = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    const auto split = [&](RequestSet set) {
      return pick(requests, requests.before,
                  select_requests(requests.ids, requests.domains, set, static_cast<std::uint64_t>(seed)));
    };
    const Counts train = split(RequestSet::kTrain), heldout = split(RequestSet::kHeldout);
    const CountsView seen{requests.layers, requests.experts, train.values};
    const CountsView later{requests.layers, requests.experts, heldout.values};
    const Space space = all_layers(shape_of(requests), transform, inverse_document_frequency(seen));
    sum += type_accuracy(space, {seen, train.domains}, {later, heldout.domains}, domains);
  }
  return sum / seeds;
}

TEST(RealRequests, PrefillTellsTheSubjectOfLlama4Requests) {
  MOESAIC_NEEDS_SHARED("traces/llama4-maverick-mmlu/anatomy.tar.xz");
  const auto requests = testing::llama4_requests();
  ASSERT_EQ(requests.ids.size(), 235u);
  for (const Transform transform : kTransforms) {
    EXPECT_GE(accuracy(requests, 2, transform, 5), 0.94) << name(transform);
  }
}

TEST(RealRequests, LayerChoiceDoesNotLowerRhoOnHeldOutRequests) {
  MOESAIC_NEEDS_SHARED("traces/gpt-oss-20b-decode/experts.u8.bin.xz");
  const auto requests = testing::gpt_oss_requests(0.333);
  const std::size_t layers = requests.layers, experts = requests.experts;
  ThreadPool pool(2);
  const LayerChoiceOptions options{.pairs = 4000, .seed = 1};
  const auto train = select_requests(requests.ids, requests.domains, RequestSet::kTrain, 1);
  const auto heldout = select_requests(requests.ids, requests.domains, RequestSet::kHeldout, 1);
  const auto before = pick(requests, requests.before, train), after = pick(requests, requests.after, train);
  const auto later_before = pick(requests, requests.before, heldout);
  const auto later_after = pick(requests, requests.after, heldout);
  const CountsView seen{layers, experts, before.values};
  for (const Transform t : {Transform::kCount, Transform::kCountIdf}) {
    const Space space = all_layers(shape_of(requests), t, inverse_document_frequency(seen));
    const auto choice = choose_layers(space, seen, {layers, experts, after.values}, options, pool);
    const auto rho = [&](const Space& on) {
      return signature_rho(on, {layers, experts, later_before.values}, {layers, experts, later_after.values},
                           options, pool);
    };
    EXPECT_GT(choice.rho, choice.rho_all);
    EXPECT_GE(rho(restricted(space, choice.positions)), rho(space)) << name(t);
  }
}

/// Of one split's held-out requests: under a predictor fitted to the others, under their own prefill alone,
/// and when everybody is average.
TEST(RealRequests, PredictionsBeatOwnFrequenciesAndTheAverage) {
  MOESAIC_NEEDS_SHARED("traces/llama4-maverick-mmlu/anatomy.tar.xz");
  MOESAIC_NEEDS_SHARED("traces/gpt-oss-20b-decode/experts.u8.bin.xz");
  ThreadPool pool(2);
  for (const auto& [requests, top_k] :
       {std::pair{testing::llama4_requests(), 1u}, std::pair{testing::gpt_oss_requests(1.0 / 3), 4u}}) {
    ASSERT_FALSE(requests.ids.empty());
    const std::size_t width = requests.layers * requests.experts;
    struct Half {
      Counts prefill, decode;
      std::vector<std::uint32_t> prefill_tokens{}, decode_tokens{};
    };
    const auto half = [&](RequestSet set) {
      const auto which = select_requests(requests.ids, requests.domains, set, 5, 2);
      Half out{pick(requests, requests.before, which), pick(requests, requests.after, which)};
      for (const std::uint32_t r : which) {
        double rows = 0;
        for (std::size_t e = 0; e < requests.experts; ++e)
          rows += static_cast<double>(requests.before[r * width + e]);
        out.prefill_tokens.push_back(static_cast<std::uint32_t>(rows / top_k + 0.5));
        out.decode_tokens.push_back(static_cast<std::uint32_t>(requests.tokens[r]));
      }
      return out;
    };
    const auto data = [&](const Half& of) {
      return PredictionData{{requests.layers, requests.experts, of.prefill.values},
                            {requests.layers, requests.experts, of.decode.values},
                            of.prefill_tokens,
                            of.decode_tokens};
    };
    const Half train = half(RequestSet::kTrain), heldout = half(RequestSet::kHeldout);
    const Predictor fitted = fit_predictor(data(train), {}, pool);
    ASSERT_TRUE(validate(fitted));
    ModelShape shape = shape_of(requests);
    shape.top_k = top_k;
    Predictor mean = uniform_predictor(shape);
    mean.mean = fitted.mean;
    std::ranges::fill(mean.trust, 0.0f);
    const PredictionScore ours = score_predictor(fitted, data(heldout)),
                          own = score_predictor(uniform_predictor(shape), data(heldout)),
                          average = score_predictor(mean, data(heldout));
    std::printf("log loss %.4f, own prefill %.4f, average %.4f; correlation %.3f, %.3f, %.3f\n",
                ours.log_loss, own.log_loss, average.log_loss, ours.correlation, own.correlation,
                average.correlation);
    EXPECT_LT(ours.log_loss, 0.98 * own.log_loss);
    EXPECT_LT(ours.log_loss, 0.98 * average.log_loss);
    EXPECT_GT(ours.correlation, own.correlation);
    for (const auto& bin : ours.bins) {
      if (bin.share > 0.01) {
        EXPECT_NEAR(bin.predicted, bin.observed, 0.1);
      }
    }
  }
}

}  // namespace
}  // namespace moesaic::signature
