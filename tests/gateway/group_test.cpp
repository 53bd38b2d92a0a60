// Requests delivered to the homes of a plan, on real sockets: to a worker, or to a rank of one by header or
// body.
#include "gateway/cluster.hpp"

namespace moesaic::gateway {
namespace {

using net::Task;
using testing::Cluster;
using testing::ClusterOptions;
using testing::Got;

constexpr std::size_t kHomes = 4;
constexpr const char* kWords[kHomes] = {"aaaa", "bbbb", "cccc", "dddd"};

/// A prompt of word h uses expert h of the one layer, and home h is that of expert h.
ClusterOptions four_homes(std::size_t workers, std::uint32_t ranks, RankBy by) {
  ClusterOptions options;
  options.plain = workers;
  options.worker = [ranks](emulator::WorkerConfig& worker) { worker.ranks = ranks; };
  options.configure = [by](Config& config) {
    config.decode_policy = "group";
    for (WorkerSpec& worker : config.workers) worker.rank_by = by;
  };
  std::vector<std::string> texts;
  std::vector<std::string_view> views;
  std::vector<std::uint32_t> group;
  for (std::uint32_t word = 0; word < kHomes; ++word) {
    for (int times = 1; times < 5; ++times) {
      texts.emplace_back();
      for (int i = 0; i < times; ++i) texts.back() += kWords[word];
      group.push_back(word);
    }
  }
  views.assign(texts.begin(), texts.end());
  ThreadPool pool(1);
  signature::PromptModel model = signature::fit_prompt_model(views, group, kHomes, {}, pool);
  model.cells = kHomes;
  routing::GroupOptions groups{.assigner = {.space = {.layers = {LayerId{0}}, .rows = {0}, .experts = kHomes},
                                            .prototypes = std::vector<float>(kHomes * kHomes),
                                            .capacities = signature::equal_shares(kHomes)},
                               .layer_rows = 1};
  for (std::size_t home = 0; home < kHomes; ++home) groups.assigner.prototypes[home * kHomes + home] = 1;
  model.usage = groups.assigner.prototypes;
  options.policies.prompt_model = std::move(model);
  options.policies.usage = {1, kHomes};
  options.policies.homes = kHomes;
  options.policies.decode = [groups](std::string_view name) {
    return routing::make_decode_policy(name, {.group = groups});
  };
  return options;
}

std::string ask(std::size_t word, std::uint32_t tokens = 2) {
  return std::string(R"({"prompt":")") + kWords[word] + R"(","max_tokens":)" + std::to_string(tokens) + "}";
}

Task<void> all_up(Cluster& cluster) {
  const auto& backends = cluster.gateway().state().workers->all();
  co_await cluster.until(
      [&] { return std::all_of(backends.begin(), backends.end(), [](const auto& b) { return b->told_up; }); },
      "all workers to be up");
}

TEST(Group, AHomeIsAWorkerOrARankNamedByHeaderOrBody) {
  struct Layout {
    std::size_t workers;
    std::uint32_t ranks;
  };
  for (const Layout layout : {Layout{4, 1}, Layout{2, 2}, Layout{1, 4}}) {
    for (const RankBy by : {RankBy::kHeader, RankBy::kBody}) {
      Cluster cluster(four_homes(layout.workers, layout.ranks, by));
      cluster.run([&]() -> Task<void> {
        co_await all_up(cluster);
        for (std::size_t i = 0; i < 2 * kHomes; ++i) {
          const Got got = co_await cluster.complete(ask(i % kHomes));
          EXPECT_EQ(got.status, 200) << got.body;
          co_await cluster.expect_quiet();
        }
        for (std::uint32_t home = 0; home < kHomes; ++home) {
          const auto& stats = cluster.worker(home / layout.ranks).stats();
          const std::string key = "home-" + std::to_string(home);
          EXPECT_EQ(stats.of_key.count(key) > 0 ? stats.of_key.at(key) : 0, 2u) << key;
          if (layout.ranks > 1) {
            EXPECT_EQ(
                stats.of_rank.count(home % layout.ranks) > 0 ? stats.of_rank.at(home % layout.ranks) : 0, 2u)
                << "rank " << home % layout.ranks;
          }
          EXPECT_EQ(stats.finished, 2u * layout.ranks);
        }
        const Got told = co_await cluster.admin("GET", "/admin/decisions?limit=1");
        const Json last = told.json().find("decisions")->as_array()->front();
        std::uint64_t home = 0;
        EXPECT_TRUE(last.find("home") != nullptr && last.find("home")->to_uint(home)) << told.body;
        EXPECT_EQ(home, 3u);
        EXPECT_EQ(*last.find("reason")->as_string(), "signature");
      });
    }
  }
}

TEST(Group, AHomeTakesNoMoreThanItsShareOfWhatRunsAtOnce) {
  ClusterOptions options = four_homes(4, 1, RankBy::kHeader);
  options.step = std::chrono::milliseconds(1);
  Cluster cluster(std::move(options));
  cluster.run([&]() -> Task<void> {
    co_await all_up(cluster);
    const auto one = [](Cluster& all, int& open) -> Task<void> {
      const Got got = co_await all.complete(ask(0, 400));
      EXPECT_EQ(got.status, 200) << got.body;
      --open;
    };
    int open = 0;
    for (int i = 0; i < 16; ++i) {
      ++open;
      cluster.loop().spawn(one(cluster, open));
    }
    co_await cluster.until([&] { return cluster.gateway().state().in_flight == 16; }, "16 requests at once");
    for (std::size_t i = 0; i < kHomes; ++i) {
      EXPECT_GE(cluster.gateway().state().workers->all()[i]->in_flight, 2u) << i;
      EXPECT_LE(cluster.gateway().state().workers->all()[i]->in_flight, 6u) << i;
    }
    co_await cluster.until([&] { return open == 0; }, "all to end");
    co_await cluster.expect_quiet();
  });
}

TEST(Group, AHomeThatDiesIsReplacedByTheOthersAndTakesItsRequestsBack) {
  Cluster cluster(four_homes(4, 1, RankBy::kHeader));
  cluster.run([&]() -> Task<void> {
    co_await all_up(cluster);
    cluster.kill(1);
    co_await cluster.until([&] { return !cluster.gateway().state().workers->all()[1]->told_up; },
                           "the death");
    EXPECT_EQ((co_await cluster.complete(ask(1))).status, 200);
    EXPECT_EQ(cluster.worker(1).stats().requests, 0u);
    cluster.revive(1);
    co_await cluster.until([&] { return cluster.gateway().state().workers->all()[1]->told_up; },
                           "the revival");
    EXPECT_EQ((co_await cluster.complete(ask(1))).status, 200);
    EXPECT_EQ(cluster.worker(1).stats().requests, 1u);
    co_await cluster.expect_quiet();
  });
}

TEST(Group, AWorkerThatJoinsNamesItsHome) {
  Cluster cluster(four_homes(4, 1, RankBy::kHeader));
  cluster.run([&]() -> Task<void> {
    const Got none =
        co_await cluster.admin("POST", "/admin/workers", R"({"name": "x", "url": "http://127.0.0.1:9"})");
    EXPECT_EQ(none.status, 400);
    EXPECT_TRUE(none.has("4 homes")) << none.body;
    const Got beyond = co_await cluster.admin("POST", "/admin/workers",
                                              R"({"name": "x", "url": "http://127.0.0.1:9", "home": 4})");
    EXPECT_EQ(beyond.status, 400);
    const Got fine = co_await cluster.admin("POST", "/admin/workers",
                                            R"({"name": "x", "url": "http://127.0.0.1:9", "home": 3})");
    EXPECT_EQ(fine.status, 200) << fine.body;
  });
  Cluster without;
  without.run([&]() -> Task<void> {
    const Got named = co_await without.admin("POST", "/admin/workers",
                                             R"({"name": "x", "url": "http://127.0.0.1:9", "home": 3})");
    EXPECT_EQ(named.status, 400);
    EXPECT_TRUE(named.has("there is no plan")) << named.body;
  });
}

std::vector<WorkerSpec> workers(std::vector<std::uint32_t> ranks) {
  std::vector<WorkerSpec> out;
  for (const std::uint32_t count : ranks) {
    WorkerSpec worker;
    worker.name = std::string("w") + std::to_string(out.size());
    worker.ranks = count;
    out.push_back(worker);
  }
  return out;
}

TEST(Homes, FollowTheOrderOfTheFileUnlessTheyAreNamed) {
  auto three = workers({2, 1, 4});
  three[1].role = Role::kPrefill;
  ASSERT_TRUE(number_homes(three, 6));
  EXPECT_EQ(three[0].home, 0u);
  EXPECT_FALSE(three[1].home);
  EXPECT_EQ(three[2].home, 2u);
  auto named = workers({2, 2, 2});
  named[0].home = 2;
  named[2].home = 0;
  const Status beyond = number_homes(named, 4);
  ASSERT_FALSE(beyond);
  EXPECT_NE(beyond.error().message.find("\"w1\": serves the homes 4 to 5"), std::string::npos)
      << beyond.error().message;
  named[1].home = 2;
  ASSERT_TRUE(number_homes(named, 4)) << "two workers may serve one home";
}

TEST(Homes, CountsThatDoNotMatchAreRefusedWithASentence) {
  auto few = workers({2, 1});
  const Status missing = number_homes(few, 4);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("3 places (workers x ranks) leave home 3 of the plan's 4"),
            std::string::npos)
      << missing.error().message;
  auto many = workers({4, 1});
  const Status beyond = number_homes(many, 4);
  ASSERT_FALSE(beyond);
  EXPECT_NE(beyond.error().message.find("the plan has 4"), std::string::npos) << beyond.error().message;
  const auto read = read_config(
      "protocol: nixl\nworkers: [{name: p, url: \"http://1.2.3.4:5\", role: prefill, home: 0}]\n", "g.yaml");
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().message.find("not by a prefiller"), std::string::npos) << read.error().message;
}

}  // namespace
}  // namespace moesaic::gateway
