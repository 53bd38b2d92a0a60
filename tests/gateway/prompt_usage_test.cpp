// Placing by a prompt's words alone, on real sockets.
#include "gateway/prompt_usage.hpp"

#include "gateway/cluster.hpp"
#include "signature/transform.hpp"

namespace moesaic::gateway {
namespace {

using net::Task;
using protocol::Handoff;
using testing::Cluster;
using testing::ClusterOptions;
using testing::Got;

constexpr const char* kCooking[] = {"how long do I boil an egg", "a soup of peas and onions",
                                    "bake the bread", "what goes into a stew", "fry the onions in butter"};
constexpr const char* kCode[] = {"int main() { return 0; }", "for (i = 0; i < n; ++i) sum += x[i];",
                                 "std::vector<int> v;", "while (p != nullptr) p = p->next;",
                                 "if (x == y) return; else throw;"};

/// Group 0 cooks and uses experts 0 and 1 of the one layer, group 1 writes code and uses 2 and 3.
signature::PromptModel model() {
  std::vector<std::string_view> texts;
  std::vector<std::uint32_t> group;
  for (const char* text : kCooking) texts.push_back(text), group.push_back(0);
  for (const char* text : kCode) texts.push_back(text), group.push_back(1);
  ThreadPool pool(1);
  signature::PromptModel out = signature::fit_prompt_model(texts, group, 2, {}, pool);
  out.cells = 4;
  out.usage = {1, 1, 0, 0, 0, 0, 1, 1};
  return out;
}

/// The first decoder's centroid is group 0, the second's group 1.
ClusterOptions knowing_words(Handoff handoff) {
  ClusterOptions options;
  options.handoff = handoff;
  options.policies.usage = {1, 4};
  options.policies.prompt_model = model();
  options.policies.decode = [](std::string_view name) {
    const ModelShape shape{"m", 1, {LayerId{0}}, 4, 2};
    routing::DecodePolicyConfig config;
    config.eldr = {.space = signature::all_layers(shape, signature::Transform::kCount),
                   .layer_rows = 1,
                   .centroids = {0.7071068f, 0.7071068f, 0, 0, 0, 0, 0.7071068f, 0.7071068f},
                   .tau = 0,
                   .nearest_two = false};
    return routing::make_decode_policy(name, config);
  };
  options.configure = [](Config& config) { config.decode_policy = "eldr-static"; };
  return options;
}

/// The newest decision.
Json decision(const Got& got) { return got.json().find("decisions")->as_array()->front(); }

TEST(PromptUsage, TellsAGroupByItsWordsAndNothingWithoutAny) {
  const PromptUsage usage(model());
  EXPECT_EQ(usage.of(R"("boil the peas")")->counts, (std::vector<float>{1, 1, 0, 0}));
  EXPECT_EQ(usage.of(R"([{"role":"user","content":"return v[i] == x;"}])")->counts,
            (std::vector<float>{0, 0, 1, 1}));
  EXPECT_EQ(usage.of(R"("boil the peas")")->tokens, 1u);
  EXPECT_EQ(usage.of("[17, 4]"), nullptr);
}

class EveryProtocol : public ::testing::TestWithParam<Handoff> {};
INSTANTIATE_TEST_SUITE_P(PromptUsage, EveryProtocol,
                         ::testing::Values(Handoff::kNone, Handoff::kNixl, Handoff::kMooncake,
                                           Handoff::kSglang),
                         [](const auto& test) { return std::string(protocol::to_string(test.param)); });

TEST_P(EveryProtocol, WordsChooseTheDecoderWhereNothingElseIsKnown) {
  Cluster cluster(knowing_words(GetParam()));
  const std::size_t first = cluster.workers() - 2;  // of those that decode
  cluster.run([&]() -> Task<void> {
    const auto& backends = cluster.gateway().state().workers->all();
    co_await cluster.until([&] { return backends[first]->told_up && backends[first + 1]->told_up; },
                           "both to be up");
    for (const char* text : {"bake a stew of peas", "boil onions", "how long do I fry an egg"}) {
      Json body;
      body["prompt"] = text;
      body["max_tokens"] = 2;
      EXPECT_EQ((co_await cluster.complete(body.dump())).status, 200);
    }
    const auto at = [&](std::size_t i) { return cluster.worker(first + i).stats().decodes; };
    const std::uint64_t cooked = std::max(at(0), at(1));
    EXPECT_EQ(cooked, 3u) << "one decoder got them all";
    const std::size_t kitchen = at(0) == 3 ? 0 : 1;
    const Got chat = co_await cluster.post(
        "/v1/chat/completions",
        R"({"messages":[{"role":"user","content":"for (x : v) return x;"}],"max_tokens":2})");
    EXPECT_EQ(chat.status, 200) << chat.body;
    EXPECT_EQ(at(1 - kitchen), 1u);
    const Got asked = co_await cluster.admin("GET", "/admin/decisions");
    const Json told = decision(asked);
    EXPECT_EQ(*told.find("usage")->as_string(), "prompt_model");
    EXPECT_EQ(*told.find("reason")->as_string(), "signature");
    const Got metrics = co_await cluster.admin("GET", "/metrics");
    EXPECT_TRUE(metrics.has(R"(moesaic_decisions_total{reason="signature",usage="prompt_model"} 4)"))
        << metrics.body;
    const Got ids = co_await cluster.complete(R"({"prompt":[1,2,3],"max_tokens":2})");
    EXPECT_EQ(ids.status, 200) << ids.body;
    const Got again = co_await cluster.admin("GET", "/admin/decisions");
    EXPECT_EQ(*decision(again).find("usage")->as_string(), "none") << "token ids are no words";
    EXPECT_EQ(*decision(again).find("reason")->as_string(), "fallback");
    co_await cluster.expect_quiet();
  });
}

}  // namespace
}  // namespace moesaic::gateway
