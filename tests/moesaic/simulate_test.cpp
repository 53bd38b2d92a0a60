// `moesaic simulate` as a process, on the sample.
#include <cmath>

#include "io/json.hpp"
#include "support/paths.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic {
namespace {

double number(const Json* json) {
  double out = NAN;
  EXPECT_TRUE(json != nullptr && json->to_double(out));
  return out;
}

const std::string kCluster = moesaic::testing::source_path("samples/clusters/moesaic-mini-4d.yaml");

TEST(Simulate, GivesATableAndTheSameFiguresAsJson) {
  const testing::TemporaryFolder folder;
  const std::string trace = folder / "mini.zarr", json = folder / "out.json";
  ASSERT_EQ(
      testing::run_moesaic({"import", moesaic::testing::source_path("samples/moesaic-mini"), "-o", trace})
          .exit_code,
      0);
  const auto run = testing::run_moesaic({"simulate", kCluster, "--trace", trace, "--json", json});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  for (const char* part : {"2 prefill and 4 decode workers", "100 recorded requests simulated", "jsq", "eldr",
                           "marginal-oracle", "p99 ms"})
    EXPECT_NE(run.out.find(part), std::string::npos) << part << " in\n" << run.out;
  const auto result = io::read_json(io::real_files(), json);
  ASSERT_TRUE(result) << result.error().message;
  const Json& policies = *result->find("rates")->as_array()->at(0).find("policies");
  for (const char* policy : {"jsq", "eldr", "marginal", "marginal-oracle"}) {
    const Json* figures = policies.find(policy);
    ASSERT_NE(figures, nullptr) << policy;
    for (const char* key :
         {"tpot_p50_ms", "tpot_p99_ms", "ttft_p50_ms", "active_experts_per_step", "requests"})
      EXPECT_GT(number(figures->find(key)), 0) << policy << " " << key;
    EXPECT_GE(number(figures->find("tpot_p99_ms")), number(figures->find("tpot_p50_ms")));
  }
  // What the command is for: on this trace both policies that know experts read fewer of them.
  const auto experts = [&](const char* policy) {
    return number(policies.find(policy)->find("active_experts_per_step"));
  };
  EXPECT_LT(experts("eldr"), 0.95 * experts("jsq"));
  EXPECT_LT(experts("marginal"), experts("eldr"));
}

/// The sample's cluster file with `more` in front, beside the trace `mini.zarr` of the folder.
std::string cluster_with(const testing::TemporaryFolder& folder, const std::string& more) {
  const auto text = io::read_file(io::real_files(), kCluster, 1 << 20);
  EXPECT_TRUE(text);
  std::string shorter = more + *text;
  shorter.replace(shorter.find("seeds: 10"), 9, "seeds: 2");
  const std::string path = folder / "cluster.yaml";
  EXPECT_TRUE(io::write_file_atomically(io::real_files(), path, shorter, true));
  return path;
}

TEST(Simulate, TakesAFittedRouterAndWritesAPage) {
  const testing::TemporaryFolder folder;
  const std::string trace = folder / "mini.zarr", router = folder / "router.json",
                    html = folder / "page.html";
  ASSERT_EQ(
      testing::run_moesaic({"import", testing::source_path("samples/moesaic-mini"), "-o", trace}).exit_code,
      0);
  const auto fitted = testing::run_moesaic(
      {"fit", trace, "--decoders", "4", "--layers", "2", "--transform", "count", "-o", router});
  ASSERT_EQ(fitted.exit_code, 0) << fitted.err;
  const std::string cluster = cluster_with(folder, "router: router.json\n");
  const auto run = testing::run_moesaic({"simulate", cluster, "--html", html, "--json", folder / "out.json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("fitted on requests of this very trace"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("page.html"), std::string::npos);
  const auto result = io::read_json(io::real_files(), folder / "out.json");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(number(result->find("eldr_layers")), 2);
  const auto page = io::read_file(io::real_files(), html, 1 << 24);
  ASSERT_TRUE(page) << page.error().message;
  for (const char* part : {"Which decode policy pays", "Who makes the tokens", "marginal-oracle"})
    EXPECT_NE(page->find(part), std::string::npos) << part;

  const auto absent = testing::run_moesaic({"simulate", cluster_with(folder, "router: absent.json\n")});
  EXPECT_EQ(absent.exit_code, 2);
  EXPECT_NE(absent.err.find("absent.json"), std::string::npos) << absent.err;
}

TEST(Simulate, WhatIsWrongIsSaidWithExitCodeTwo) {
  const testing::TemporaryFolder folder;
  const auto absent = testing::run_moesaic({"simulate", folder / "none.yaml"});
  EXPECT_NE(absent.exit_code, 0);
  EXPECT_NE(absent.err.find("none.yaml"), std::string::npos) << absent.err;
  const auto no_trace = testing::run_moesaic({"simulate", kCluster, "--trace", folder / "none.zarr"});
  EXPECT_EQ(no_trace.exit_code, 2);
  EXPECT_NE(no_trace.err.find("none.zarr"), std::string::npos) << no_trace.err;
}

}  // namespace
}  // namespace moesaic
