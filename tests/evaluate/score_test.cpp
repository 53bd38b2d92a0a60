// evaluate against the brute-force oracle, through a real store: selection, spans, homes, layers, bytes.
#include "evaluate/score.hpp"

#include <cmath>
#include <numeric>

#include "core/balance.hpp"
#include "core/random.hpp"
#include "io/memory_files.hpp"
#include "support/traffic_oracle.hpp"
#include "trace/trace.hpp"
#include "trace/writer.hpp"

namespace moesaic::evaluate {
namespace {

constexpr std::size_t kExperts = 7, kTopK = 3;

/// A random token store of `requests` requests, and what was put in: [request][token][layer][k].
struct RandomTrace {
  io::MemoryFiles files;
  std::vector<std::vector<ExpertId>> experts;  ///< by request, [tokens, L, k]
  std::vector<trace::RequestRecord> records;
  ModelShape shape{.model = "m",
                   .model_layers = 5,
                   .layers = {LayerId(1), LayerId(2), LayerId(4)},
                   .experts = kExperts,
                   .top_k = kTopK};

  Result<trace::Trace> make(Pcg32& random, std::size_t requests) {
    MOESAIC_ASSIGN(trace::TokenWriter writer,
                   trace::TokenWriter::open(files, "t.zarr", shape, {.fingerprint = "x"}));
    for (std::size_t r = 0; r < requests; ++r) {
      trace::RequestRecord record{.id = "r" + std::to_string(r),
                                  .domain = r % 2 == 0 ? "even" : "odd",
                                  .prefill_tokens = random.below(5),
                                  .decode_tokens = random.below(9),
                                  .arrival_ns = static_cast<std::int64_t>(random.below(1000))};
      std::vector<ExpertId> tokens;
      for (std::size_t row = 0; row < (record.prefill_tokens + record.decode_tokens) * shape.layers.size();
           ++row) {
        std::vector<ExpertId> all(kExperts);
        for (std::size_t e = 0; e < kExperts; ++e) all[e] = ExpertId(e);
        shuffle(std::span(all), random);
        if (random.below(12) == 0) all[0] = kMissingExpert;
        tokens.insert(tokens.end(), all.begin(), all.begin() + kTopK);
      }
      MOESAIC_TRY(writer.add_request(record, tokens));
      records.push_back(record);
      experts.push_back(std::move(tokens));
    }
    MOESAIC_TRY(writer.finish(kExperts, {.format = "test", .sources = {}, .anomalies = {}}));
    return trace::Trace::open(files, "t.zarr");
  }
};

Placement random_placement(const ModelShape& shape, const Topology& topology, Pcg32& random) {
  const std::size_t per_gpu = (kExperts + topology.gpus() - 1) / topology.gpus() + random.below(2);
  std::vector<ExpertId> slots;
  for (std::size_t row = 0; row < shape.layers.size(); ++row) {
    std::vector<ExpertId> layer;
    for (std::size_t s = 0; s < per_gpu * topology.gpus(); ++s) {
      layer.push_back(ExpertId(s < kExperts ? s : random.below(kExperts)));
    }
    shuffle(std::span(layer), random);
    slots.insert(slots.end(), layer.begin(), layer.end());
  }
  return *Placement::make(topology, shape.layers, kExperts, per_gpu, std::move(slots));
}

RC_GTEST_PROP(Evaluate, PartsAddUpToTheWhole, (std::uint64_t seed)) {
  Pcg32 random(seed);
  RandomTrace made;
  const auto trace = made.make(random, 1 + random.below(12));
  RC_ASSERT(trace.has_value());
  const Topology topology{.nodes = 2, .gpus_per_node = 2};
  std::vector<std::uint32_t> all(made.records.size());
  std::iota(all.begin(), all.end(), 0u);
  const SelectedTokens tokens(*trace, {.requests = all, .phase = Phase::kAll});
  Homes homes{.attention = Attention::kDataParallel, .of_request = {}};
  std::vector<std::uint16_t> part_of;
  for (std::size_t i = 0; i < all.size(); ++i) {
    homes.of_request.push_back(HomeId(random.below(4)));
    part_of.push_back(static_cast<std::uint16_t>(random.below(3)));
  }
  const Placement placement = random_placement(made.shape, topology, random);
  const Placement* const one[] = {&placement};
  ThreadPool pool(1);
  const auto whole = score_placements(tokens, homes, one, {}, pool);
  const auto parts = score_parts(tokens, homes, part_of, 3, one, {}, pool);
  RC_ASSERT(whole.has_value() && parts.has_value());
  std::int64_t count = 0;
  double dedup = 0, per_expert = 0;
  std::vector<std::int64_t> rows(4);
  for (const Score& part : (*parts)[0]) {
    count += part.tokens;
    if (part.tokens == 0) {
      RC_ASSERT(std::isnan(part.dedup.node_copies_per_token_layer) && std::isnan(part.gpu_max_over_mean));
      continue;
    }
    dedup += part.dedup.node_copies_per_token_layer * static_cast<double>(part.tokens);
    per_expert += part.per_expert.node_copies_per_token_layer * static_cast<double>(part.tokens);
    for (std::size_t g = 0; g < 4; ++g) rows[g] += part.layers[0].gpu_rows[g];
  }
  const Score& score = (*whole)[0];
  RC_ASSERT(count == score.tokens);
  const auto tokens_in_all = static_cast<double>(count);
  RC_ASSERT(std::abs(dedup - score.dedup.node_copies_per_token_layer * tokens_in_all) < 1e-6);
  RC_ASSERT(std::abs(per_expert - score.per_expert.node_copies_per_token_layer * tokens_in_all) < 1e-6);
  RC_ASSERT(rows == score.layers[0].gpu_rows);
  // Node to node, all pairs make up what is sent.
  const double flow = std::accumulate(score.dedup_flow.begin(), score.dedup_flow.end(), 0.0);
  RC_ASSERT(std::abs(flow - score.dedup.node_copies_per_token_layer) < 1e-9);
}

RC_GTEST_PROP(Evaluate, AgreesWithTheBruteForceOracleThroughARealStore, (std::uint64_t seed)) {
  Pcg32 random(seed);
  RandomTrace made;
  const auto trace = made.make(random, 1 + random.below(12));
  RC_ASSERT(trace.has_value());
  const Topology topology{.nodes = 1 + random.below(3), .gpus_per_node = 1 + random.below(3)};
  const bool tensor = random.below(2) == 1;
  const Attention attention = tensor ? Attention::kTensorParallel : Attention::kDataParallel;
  const Phase phase = std::array{Phase::kDecode, Phase::kPrefill, Phase::kAll}.at(random.below(3));
  const PredictFrom from =
      random.below(2) == 0 ? PredictFrom{} : PredictFrom{.prefill = false, .fraction = 0.5};
  std::vector<std::uint32_t> chosen;
  for (std::uint32_t r = 0; r < made.records.size(); ++r) {
    if (random.below(4) != 0) chosen.push_back(r);
  }
  const SelectedTokens tokens(*trace, {.requests = chosen, .phase = phase, .from = from});
  Homes homes{.attention = attention, .of_request = {}};
  for (std::size_t i = 0; i < tokens.requests().size(); ++i) {
    homes.of_request.push_back(HomeId(random.below(static_cast<std::uint32_t>(topology.homes(attention)))));
  }
  const Placement placement = random_placement(made.shape, topology, random);
  const dispatch::Rule rule = dispatch::kRules[random.below(5)];
  const std::size_t step_requests = 1 + random.below(3);
  ThreadPool pool(2);
  const Placement* const placements[] = {&placement};
  const auto scores = score_placements(tokens, homes, placements,
                                       {.objective = {.rule = rule, .attention = attention, .seed = 9},
                                        .step_requests = step_requests,
                                        .bytes_per_copy = 10},
                                       pool);
  RC_ASSERT(scores.has_value());
  const Score& score = (*scores)[0];

  std::int64_t scored = 0, node = 0, gpu = 0, padded = 0, pe_node = 0, pe_gpu = 0, pe_padded = 0;
  double gpu_imbalance = 0, node_imbalance = 0;
  for (std::size_t row = 0; row < made.shape.layers.size(); ++row) {
    testing::OracleCase c{.nodes = static_cast<int>(topology.nodes),
                          .gpus_per_node = static_cast<int>(topology.gpus_per_node),
                          .slots_per_gpu = static_cast<int>(placement.slots_per_gpu()),
                          .experts = kExperts,
                          .layer = static_cast<int>(index(made.shape.layers[row])),
                          .seed = 9,
                          .tensor_parallel = tensor,
                          .rule = std::string(dispatch::name(rule)),
                          .requests_per_home = static_cast<int>(step_requests),
                          .slots = {},
                          .requests = {}};
    for (const ExpertId slot : placement.layer(row)) c.slots.push_back(static_cast<int>(index(slot)));
    scored = 0;
    std::int64_t last_arrival = -1;
    for (std::size_t i = 0; i < tokens.requests().size(); ++i) {
      const std::uint32_t r = tokens.requests()[i];
      const trace::RequestRecord& record = made.records[r];
      RC_ASSERT(record.arrival_ns >= last_arrival);
      last_arrival = record.arrival_ns;
      // The scored span once more, from its definition.
      std::size_t begin = phase == Phase::kDecode ? record.prefill_tokens : 0;
      const std::size_t end =
          phase == Phase::kPrefill ? record.prefill_tokens : record.prefill_tokens + record.decode_tokens;
      if (!from.prefill) {
        const std::size_t length = end - begin;
        begin += length >= 2 ? std::max<std::size_t>(1, length / 2) : 0;
      }
      testing::OracleRequest request{.id = r,
                                     .home = static_cast<int>(index(homes.of_request[i])),
                                     .first_position = begin,
                                     .tokens = {}};
      for (std::size_t t = begin; t < end; ++t) {
        std::vector<int> token;
        for (std::size_t j = 0; j < kTopK; ++j) {
          const ExpertId expert = made.experts[r][(t * made.shape.layers.size() + row) * kTopK + j];
          token.push_back(expert == kMissingExpert ? -1 : static_cast<int>(index(expert)));
        }
        // The store keeps a token's ids sorted: trtllm counts rows of different experts apart, so the order
        // inside a token does not matter.
        request.tokens.push_back(token);
        ++scored;
      }
      c.requests.push_back(std::move(request));
    }
    const testing::OracleResult want = testing::traffic_oracle(c);
    node += want.dedup_node, gpu += want.dedup_gpu, padded += want.dedup_padded;
    pe_node += want.per_expert_node, pe_gpu += want.per_expert_gpu, pe_padded += want.per_expert_padded;
    gpu_imbalance += max_over_mean(want.gpu_rows);
    std::vector<std::int64_t> nodes(topology.nodes);
    for (std::size_t g = 0; g < topology.gpus(); ++g) nodes[g / topology.gpus_per_node] += want.gpu_rows[g];
    node_imbalance += max_over_mean(nodes);
  }
  const double layers = 3, n = std::max<double>(1, static_cast<double>(scored)), per = n * layers;
  const auto near = [](double a, double b) { return std::abs(a - b) < 1e-9; };
  RC_ASSERT(score.tokens == scored);
  RC_ASSERT(near(score.dedup.node_copies_per_token_layer, static_cast<double>(node) / per));
  RC_ASSERT(near(score.dedup.gpu_copies_per_token_layer, static_cast<double>(gpu) / per));
  RC_ASSERT(near(score.dedup.padded_node_copies_per_token_layer, static_cast<double>(padded) / per));
  RC_ASSERT(near(score.dedup.inter_node_bytes_per_token, static_cast<double>(node) * 10 / n));
  RC_ASSERT(near(score.per_expert.node_copies_per_token_layer, static_cast<double>(pe_node) / per));
  RC_ASSERT(near(score.per_expert.gpu_copies_per_token_layer, static_cast<double>(pe_gpu) / per));
  RC_ASSERT(near(score.per_expert.padded_node_copies_per_token_layer, static_cast<double>(pe_padded) / per));
  RC_ASSERT(near(score.gpu_max_over_mean, gpu_imbalance / layers));
  RC_ASSERT(near(score.node_max_over_mean, node_imbalance / layers));
}

TEST(Evaluate, ScoresAreTheSameAtAnyThreadCount) {
  Pcg32 random(5);
  RandomTrace made;
  const auto trace = made.make(random, 30);
  ASSERT_TRUE(trace) << trace.error().message;
  std::vector<std::uint32_t> all(30);
  std::iota(all.begin(), all.end(), 0u);
  const SelectedTokens tokens(*trace, {.requests = all});
  const Topology topology{.nodes = 2, .gpus_per_node = 2};
  Homes homes{.of_request = {}};
  for (std::size_t i = 0; i < 30; ++i) homes.of_request.push_back(HomeId(i % 4));
  const Placement placement = random_placement(made.shape, topology, random);
  const Placement* const placements[] = {&placement, &placement};
  ThreadPool one(1), three(3);
  const auto a = score_placements(tokens, homes, placements, {}, one);
  const auto b = score_placements(tokens, homes, placements, {}, three);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(to_json((*a)[0], true).dump(), to_json((*b)[1], true).dump());
}

TEST(Evaluate, UsageCountsEveryChoiceOfItsPartOnce) {
  Pcg32 random(6);
  RandomTrace made;
  const auto trace = made.make(random, 10);
  ASSERT_TRUE(trace) << trace.error().message;
  std::vector<std::uint32_t> all(10);
  std::iota(all.begin(), all.end(), 0u);
  const SelectedTokens tokens(*trace, {.requests = all});
  ThreadPool pool(2);
  const auto predict = tokens.usage(Part::kPredict, pool), score = tokens.usage(Part::kScore, pool);
  const auto loads = tokens.loads(pool);
  ASSERT_TRUE(predict && score && loads);
  const std::size_t width = made.shape.layers.size() * kExperts;
  for (std::size_t i = 0; i < 10; ++i) {
    const std::uint32_t r = tokens.requests()[i];
    std::vector<float> want_predict(width), want_score(width);
    for (std::size_t at = 0; at < made.experts[r].size(); ++at) {
      const std::size_t token = at / (kTopK * made.shape.layers.size()),
                        row = at / kTopK % made.shape.layers.size();
      if (made.experts[r][at] == kMissingExpert) continue;
      auto& want = token < made.records[r].prefill_tokens ? want_predict : want_score;
      want[row * kExperts + index(made.experts[r][at])] += 1;
    }
    EXPECT_EQ(std::vector<float>(predict->begin() + static_cast<std::ptrdiff_t>(i * width),
                                 predict->begin() + static_cast<std::ptrdiff_t>((i + 1) * width)),
              want_predict);
    EXPECT_EQ(std::vector<float>(score->begin() + static_cast<std::ptrdiff_t>(i * width),
                                 score->begin() + static_cast<std::ptrdiff_t>((i + 1) * width)),
              want_score);
  }
  double total = 0, from_usage = 0;
  for (const double load : *loads) total += load;
  for (const float count : *score) from_usage += count;
  EXPECT_EQ(total, from_usage);
}

TEST(Evaluate, CountsGiveBalanceAndSayThatCopiesAreUnknown) {
  const auto placement = Placement::make({.nodes = 2, .gpus_per_node = 1}, {LayerId(0)}, 3, 2,
                                         {ExpertId(0), ExpertId(1), ExpertId(2), ExpertId(0)});
  ASSERT_TRUE(placement);
  const std::vector<double> counts = {4, 1, 2, 2, 0, 1};  // two windows
  const Score score = score_counts(counts, *placement);
  EXPECT_DOUBLE_EQ(score.gpu_max_over_mean, 6.0 / 5.0);  // GPUs: 3 + 1 and 3 + 3
  EXPECT_TRUE(std::isnan(score.dedup.node_copies_per_token_layer));
  EXPECT_NE(to_json(score, false).dump().find("\"node_copies_per_token_layer\":null"), std::string::npos);
}

TEST(Evaluate, MeanIsFieldByField) {
  Score a, b;
  a.dedup.node_copies_per_token_layer = 1, b.dedup.node_copies_per_token_layer = 3;
  a.gpu_max_over_mean = 1, b.gpu_max_over_mean = 2;
  const Score scores[] = {a, b};
  EXPECT_DOUBLE_EQ(mean(scores).dedup.node_copies_per_token_layer, 2);
  EXPECT_DOUBLE_EQ(mean(scores).gpu_max_over_mean, 1.5);
}

}  // namespace
}  // namespace moesaic::evaluate
