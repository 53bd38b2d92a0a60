#include "replay/replay.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <numeric>
#include <optional>

#include "comm/thread_ranks.hpp"
#include "core/clock.hpp"
#include "core/random.hpp"
#include "io/memory_files.hpp"
#include "replay/experts.hpp"
#include "replay/wire.hpp"
#include "support/traffic_oracle.hpp"
#include "trace/writer.hpp"

namespace moesaic::replay {
namespace {

/// A network that loses numbers: the last one of every message of vectors between ranks is none when it
/// arrives.
class Losing final : public comm::Comm {
 public:
  explicit Losing(comm::Comm& inner) : inner_(inner) {}
  std::size_t rank() const override { return inner_.rank(); }
  std::size_t size() const override { return inner_.size(); }
  std::string host() const override { return inner_.host(); }
  Status barrier() override { return inner_.barrier(); }
  Status all_sum(std::span<std::int64_t> values) override { return inner_.all_sum(values); }
  Result<std::vector<comm::Bytes>> all_gather(std::span<const std::byte> mine) override {
    return inner_.all_gather(mine);
  }
  Status broadcast(comm::Bytes& bytes, std::size_t root) override { return inner_.broadcast(bytes, root); }
  Result<std::vector<comm::Bytes>> exchange(std::span<const std::size_t> peers,
                                            const std::vector<comm::Bytes>& out) override {
    auto in = inner_.exchange(peers, out);
    const float none = std::nanf("");
    for (std::size_t i = 0; in && i < in->size(); ++i) {
      comm::Bytes& bytes = (*in)[i];
      if (bytes.size() < 64) continue;  // no hidden state in it
      std::memcpy(bytes.data() + bytes.size() - sizeof none, &none, sizeof none);
    }
    return in;
  }
  Status post(std::size_t peer, comm::Bytes message) override {
    return inner_.post(peer, std::move(message));
  }
  Result<std::optional<Posted>> take_posted(bool wait) override { return inner_.take_posted(wait); }

 private:
  comm::Comm& inner_;
};

/// A small model, its trace on disk, a placement with replicas at random, and homes.
struct Case {
  Topology topology;
  Attention attention = Attention::kDataParallel;
  std::size_t experts = 6, top_k = 2, slots_per_gpu = 3;
  bool weights = false;
  std::uint64_t seed = 1;
  std::vector<std::uint32_t> lengths = {5, 1, 9, 4, 7, 3};
};

class World {
 public:
  explicit World(const Case& c) : case_(c) {
    ModelShape shape{.model = "small",
                     .model_layers = 4,
                     .layers = {LayerId{1}, LayerId{3}},
                     .experts = c.experts,
                     .top_k = c.top_k};
    Pcg32 random(c.seed);
    auto writer = trace::TokenWriter::open(
        files_, path(), shape, {.weights = c.weights, .layout = {.shard_tokens = 16, .piece_tokens = 8}});
    EXPECT_TRUE(writer);
    std::uint64_t start = 0;
    for (std::size_t r = 0; r < c.lengths.size(); ++r) {
      std::vector<ExpertId> experts;
      std::vector<float> weights;
      for (std::size_t i = 0; i < c.lengths[r] * 2; ++i) {
        std::vector<std::uint16_t> all(c.experts);
        std::iota(all.begin(), all.end(), std::uint16_t{0});
        shuffle(std::span(all), random);
        for (std::size_t j = 0; j < c.top_k; ++j) {
          const bool missing = random.below(12) == 0;
          experts.push_back(missing ? kMissingExpert : ExpertId{all[j]});
          weights.push_back(missing ? std::nanf("") : static_cast<float>(random.uniform()));
        }
      }
      EXPECT_TRUE(writer->add_request(
          {.id = fmt::format("r{}", r), .domain = "", .decode_tokens = c.lengths[r]}, experts,
          c.weights ? std::span<const float>(weights) : std::span<const float>()));
      const auto home = random.below(static_cast<std::uint32_t>(c.topology.homes(c.attention)));
      spans_.push_back(
          {static_cast<std::uint32_t>(r), HomeId{home}, 0, start, c.lengths[r], random.below(3)});
      start += c.lengths[r];
    }
    EXPECT_TRUE(writer->finish(c.experts, {}));
    std::vector<ExpertId> slots;
    for (int layer = 0; layer < 2; ++layer) {
      std::vector<std::uint16_t> ids(c.topology.gpus() * c.slots_per_gpu);
      for (std::size_t s = 0; s < ids.size(); ++s) ids[s] = static_cast<std::uint16_t>(s % c.experts);
      shuffle(std::span(ids), random);
      for (const std::uint16_t id : ids) slots.push_back(ExpertId{id});
    }
    plan_.emplace(artifact::Plan{
        .shape = shape,
        .placement = Placement::make(c.topology, shape.layers, c.experts, c.slots_per_gpu, slots).value()});
    plan_->attention = c.attention;
  }

  std::string path() const { return "/t.zarr"; }
  io::FileSystem& files() const { return files_; }
  const artifact::Plan& plan() const { return *plan_; }
  const std::vector<RequestSpan>& spans() const { return spans_; }

  /// The report of rank 0, or the first error. Every rank must report the same.
  Result<Report> replay(const Options& options, bool losing = false) const {
    std::vector<std::optional<Result<Report>>> reports(case_.topology.gpus());
    const auto statuses = comm::run_thread_ranks(reports.size(), [&](comm::Comm& comm) -> Status {
      MOESAIC_ASSIGN(const trace::Trace trace, trace::Trace::open(files_, path()));
      const ManualClock clock;
      Losing lossy(comm);
      comm::Comm& network = losing ? static_cast<comm::Comm&>(lossy) : comm;
      reports[comm.rank()] = run(*plan_, trace, spans_, options, network, clock);
      return *reports[comm.rank()] ? Status() : tl::unexpected(reports[comm.rank()]->error());
    });
    for (const Status& status : statuses) MOESAIC_TRY(status);
    for (const auto& report : reports) {
      if (to_json(**report) != to_json(**reports[0])) return bad_input("ranks report different things");
    }
    return std::move(*reports[0]);
  }

  /// The oracle's copies of a layer.
  testing::OracleResult oracle(const trace::Trace& trace, const Options& options, std::size_t row) const {
    testing::OracleCase o;
    o.nodes = static_cast<int>(case_.topology.nodes);
    o.gpus_per_node = static_cast<int>(case_.topology.gpus_per_node);
    o.slots_per_gpu = static_cast<int>(case_.slots_per_gpu);
    o.experts = static_cast<int>(case_.experts);
    o.layer = static_cast<int>(index(plan_->shape.layers[row]));
    o.seed = options.dispatch_seed;
    o.tensor_parallel = case_.attention == Attention::kTensorParallel;
    o.rule = dispatch::name(options.rule);
    for (const ExpertId slot : plan_->placement.layer(row)) o.slots.push_back(static_cast<int>(index(slot)));
    for (const RequestSpan& span : spans_) {
      testing::OracleRequest request{.id = span.request,
                                     .home = static_cast<int>(index(span.home)),
                                     .first_position = span.position,
                                     .tokens = {}};
      std::vector<ExpertId> experts(span.count * case_.top_k);
      EXPECT_TRUE(trace.read_layer(row, span.store_token, span.store_token + span.count, experts));
      for (std::size_t t = 0; t < span.count; ++t) {
        std::vector<int> token;
        for (std::size_t j = 0; j < case_.top_k; ++j) {
          const ExpertId id = experts[t * case_.top_k + j];
          token.push_back(id == kMissingExpert ? -1 : static_cast<int>(index(id)));
        }
        request.tokens.push_back(token);
      }
      o.requests.push_back(request);
    }
    return testing::traffic_oracle(o);
  }

 private:
  Case case_;
  mutable io::MemoryFiles files_;
  std::optional<artifact::Plan> plan_;
  std::vector<RequestSpan> spans_;
};

Options small(Mode mode, dispatch::Rule rule = dispatch::Rule::kLocal) {
  return {.mode = mode,
          .wire = Wire::kF32,
          .rule = rule,
          .dispatch_seed = 5,
          .hidden = 16,
          .intermediate = 8,
          .batch_tokens = 3,
          .check_tokens = 1000};
}

/// Payload and results of one case against the oracle and the reference.
void holds(const Case& c, const Options& options) {
  const World world(c);
  const auto report = world.replay(options);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->within_tolerance()) << report->max_abs_error();
  EXPECT_EQ(report->checked_tokens, 2 * report->tokens);
  const auto trace = trace::Trace::open(world.files(), world.path());
  ASSERT_TRUE(trace);
  const auto vector = static_cast<std::int64_t>(vector_bytes(options));
  for (std::size_t row = 0; row < 2; ++row) {
    const testing::OracleResult expected = world.oracle(*trace, options, row);
    const LayerReport& layer = report->layers[row];
    const bool dedup = options.mode == Mode::kDedup;
    EXPECT_EQ(layer.inter_node_bytes(c.topology),
              2 * vector * (dedup ? expected.dedup_node : expected.per_expert_node));
    EXPECT_EQ(layer.intra_node_bytes(c.topology),
              2 * vector * (dedup ? expected.dedup_gpu : expected.per_expert_gpu));
    std::int64_t rows = 0;
    for (const std::int64_t gpu : expected.gpu_rows) rows += gpu;
    EXPECT_EQ(layer.rows, rows);
    // What came back is what went out.
    EXPECT_EQ(std::accumulate(layer.dispatch.begin(), layer.dispatch.end(), std::int64_t{0}),
              std::accumulate(layer.combine.begin(), layer.combine.end(), std::int64_t{0}));
  }
}

TEST(Replay, BothModesOnTwoNodesOfTwoMatchTheObjectiveAndTheReference) {
  holds({.topology = {2, 2}}, small(Mode::kDedup));
  holds({.topology = {2, 2}}, small(Mode::kPerExpert));
}

TEST(Replay, OneNodeAndOneGpuANodeAreNoSpecialCase) {
  for (const Mode mode : {Mode::kDedup, Mode::kPerExpert}) {
    holds({.topology = {1, 3}}, small(mode));
    holds({.topology = {3, 1}}, small(mode));
    holds({.topology = {1, 1}, .slots_per_gpu = 6}, small(mode));
  }
}

TEST(Replay, TensorParallelAttentionSpreadsARequestOverItsNode) {
  for (const Mode mode : {Mode::kDedup, Mode::kPerExpert}) {
    holds({.topology = {2, 3}, .attention = Attention::kTensorParallel}, small(mode));
  }
}

TEST(Replay, MatricesOffStillChecksEveryResult) {
  Options options = small(Mode::kDedup);
  options.compute = false;
  holds({.topology = {2, 2}}, options);
}

RC_GTEST_PROP(Replay, BytesAndResultsHoldForEveryPlacementRuleModeAndWire, ()) {
  Case c;
  c.topology = {*rc::gen::inRange<std::size_t>(1, 4), *rc::gen::inRange<std::size_t>(1, 4)};
  c.attention = *rc::gen::element(Attention::kDataParallel, Attention::kTensorParallel);
  c.experts = *rc::gen::inRange<std::size_t>(2, 9);
  c.top_k = *rc::gen::inRange<std::size_t>(1, std::min<std::size_t>(5, c.experts + 1));
  c.slots_per_gpu =
      (c.experts + c.topology.gpus() - 1) / c.topology.gpus() + *rc::gen::inRange<std::size_t>(0, 3);
  c.weights = *rc::gen::arbitrary<bool>();
  c.seed = *rc::gen::arbitrary<std::uint64_t>();
  c.lengths = *rc::gen::container<std::vector<std::uint32_t>>(*rc::gen::inRange<std::size_t>(1, 7),
                                                              rc::gen::inRange<std::uint32_t>(1, 12));
  Options options =
      small(*rc::gen::element(Mode::kDedup, Mode::kPerExpert),
            *rc::gen::elementOf(std::vector(std::begin(dispatch::kRules), std::end(dispatch::kRules))));
  options.wire = *rc::gen::element(Wire::kF32, Wire::kBf16);
  options.batch_tokens = *rc::gen::inRange<std::size_t>(1, 20);
  options.compute = *rc::gen::arbitrary<bool>();
  holds(c, options);
  RC_ASSERT(!::testing::Test::HasFailure());
}

TEST(Replay, AResultThatIsNoNumberIsOutsideAnyTolerance) {
  const World world({.topology = {2, 2}});
  for (const Mode mode : {Mode::kDedup, Mode::kPerExpert}) {
    ASSERT_TRUE(world.replay(small(mode))->within_tolerance());
    const auto report = world.replay(small(mode), true);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_FALSE(report->within_tolerance());
    EXPECT_TRUE(std::isinf(report->max_abs_error()));
  }
}

TEST(Replay, AMissingShardEndsEveryRankWithOneError) {
  const World world({.topology = {2, 2}});
  // Tokens 16 and later of all layers are the second shard.
  ASSERT_TRUE(world.files().remove_all(world.path() + "/experts/c.1.0.0"));
  const auto report = world.replay(small(Mode::kDedup));
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message.find("c.1.0.0"), std::string::npos) << report.error().message;
}

TEST(MicroBatches, GoGroupByGroupAndStepByStepInside) {
  // Requests 0 and 2 run in step, then request 1: (request, step, group).
  const std::vector<Token> tokens{
      {.request = 0, .group = 0, .step = 0}, {.request = 0, .group = 0, .step = 1},
      {.request = 1, .group = 1, .step = 0}, {.request = 1, .group = 1, .step = 1},
      {.request = 2, .group = 0, .step = 0}, {.request = 2, .group = 0, .step = 1},
      {.request = 2, .group = 0, .step = 2}};
  EXPECT_EQ(micro_batches(tokens, 3), (std::vector<std::vector<std::uint32_t>>{{0, 4, 1}, {5, 6, 2}, {3}}));
  EXPECT_TRUE(micro_batches({}, 3).empty());
}

TEST(CheckRanks, WantsARankForEveryGpu) {
  std::vector<std::string> said;
  const auto hosts = check_ranks({2, 2}, comm::one_rank(), said);
  ASSERT_FALSE(hosts);
  EXPECT_EQ(
      hosts.error().message,
      "The job has 1 ranks, the plan 4 GPUs (2 nodes x 2); a rank is a GPU: start it with mpirun -n 4.");
}

TEST(CheckRanks, ANodeOfThePlanIsOneHost) {
  const auto statuses = comm::run_thread_ranks(4,
                                               [](comm::Comm& comm) -> Status {
                                                 std::vector<std::string> said;
                                                 MOESAIC_TRY(check_ranks({2, 2}, comm, said));
                                                 return {};
                                               },
                                               {"a", "b", "a", "b"});
  for (const Status& status : statuses) {
    ASSERT_FALSE(status);
    EXPECT_NE(
        status.error().message.find("Node 0 of the plan has ranks 0 to 1, but rank 0 runs on host a and "
                                    "rank 1 on b"),
        std::string::npos)
        << status.error().message;
  }
}

TEST(CheckRanks, SaysWhenNodesShareAHost) {
  std::mutex mutex;
  std::vector<std::vector<std::string>> all;
  const auto with_hosts = [&](const std::vector<std::string>& hosts) {
    all.clear();
    for (const Status& status : comm::run_thread_ranks(
             4,
             [&](comm::Comm& comm) -> Status {
               std::vector<std::string> said;
               MOESAIC_ASSIGN(const auto found, check_ranks({2, 2}, comm, said));
               const std::lock_guard lock(mutex);
               if (found != hosts) return bad_input("other hosts");
               all.push_back(said);
               return {};
             },
             hosts)) {
      EXPECT_TRUE(status);
    }
  };
  with_hosts({"a", "a", "b", "b"});
  for (const auto& said : all) EXPECT_TRUE(said.empty());
  with_hosts({"a", "a", "a", "a"});
  for (const auto& said : all) EXPECT_EQ(said.size(), 1u);
}

TEST(Wire, Bf16RoundsToNearestEven) {
  const std::vector<float> values = {1.0f, 1.00390625f, 1.01171875f, -3.14159265f, 0.0f};
  EXPECT_EQ(decode_vectors(encode_vectors(values, Wire::kBf16), Wire::kBf16),
            (std::vector<float>{1.0f, 1.0f, 1.015625f, -3.140625f, 0.0f}));
  EXPECT_EQ(decode_vectors(encode_vectors(values, Wire::kF32), Wire::kF32), values);
}

TEST(Experts, EveryReplicaHoldsTheSameWeights) {
  const Options options = small(Mode::kDedup);
  const ExpertId one[] = {ExpertId{3}}, many[] = {ExpertId{0}, ExpertId{3}, ExpertId{3}, ExpertId{1}};
  const std::vector<float> x = hidden_state(options, LayerId{2}, 77);
  std::vector<float> a(options.hidden), b(options.hidden);
  Experts(options, LayerId{2}, one).run(3, x, a);
  Experts(options, LayerId{2}, many).run(3, x, b);
  EXPECT_EQ(a, b);
  const std::vector<double> expected = reference_expert(options, LayerId{2}, 3, x);
  for (std::size_t d = 0; d < a.size(); ++d) EXPECT_NEAR(a[d], expected[d], 1e-5);
}

}  // namespace
}  // namespace moesaic::replay
