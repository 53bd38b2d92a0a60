// `moesaic fit` as a process, and the gateway that its router is for.
#include <filesystem>

#include "artifact/router.hpp"
#include "io/json.hpp"
#include "support/paths.hpp"
#include "support/program.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic {
namespace {

using testing::run_moesaic;

class Fit : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto imported =
        run_moesaic({"import", moesaic::testing::source_path("samples/moesaic-mini"), "-o", store()});
    ASSERT_EQ(imported.exit_code, 0) << imported.err;
  }

  std::string at(const std::string& name) const { return folder_ / name; }
  std::string store() const { return at("mini.zarr"); }

  testing::ProgramResult fit(const std::string& output, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"fit", store(), "--decoders", "4", "-o", output};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_moesaic(arguments);
  }

  void write(const std::string& path, const std::string& text) const {
    ASSERT_TRUE(io::write_file_atomically(io::real_files(), path, text, true));
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(Fit, WritesARouterWithWhatItScored) {
  const auto done = fit(at("router.json"), {"--layers", "best", "--seed", "2", "--json", at("fit.json")});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  for (const char* part :
       {"4 decoders, count_idf on", "count_idf *", "sqrt_count", "binary", "that it has not seen"})
    EXPECT_NE(done.out.find(part), std::string::npos) << part << " in\n" << done.out;
  const auto router = artifact::read_router(io::real_files(), at("router.json"));
  ASSERT_TRUE(router) << router.error().message;
  EXPECT_EQ(router->assigner.targets(), 4u);
  EXPECT_EQ(router->assigner.space.transform, signature::Transform::kCountIdf);
  EXPECT_EQ(router->seed, 2u);
  EXPECT_EQ(router->source.trace_name, "mini.zarr");
  const auto json = io::read_json(io::real_files(), at("fit.json"));
  ASSERT_TRUE(json) << json.error().message;
  ASSERT_EQ(*json->find("transforms"), *router->score.find("transforms"));
  for (const Json& transform : *json->find("transforms")->as_array()) {
    double all = 0, greedy = 0;
    ASSERT_TRUE(transform.find("rho_all")->to_double(all) && transform.find("rho_greedy")->to_double(greedy));
    // What routing by experts rests on: requests that look alike in prefill decode alike.
    EXPECT_GT(all, 0.3) << transform.dump();
    EXPECT_GT(greedy, 0.3) << transform.dump();
  }
}

TEST_F(Fit, TheGatewayServesByTheRouter) {
  ASSERT_EQ(fit(at("router.json")).exit_code, 0);
  const auto serve = [&](const std::string& router, const std::string& policy) {
    write(at("gateway.yaml"),
          "listen: {port: 0}\nadmin: {port: 0}\nlog: none\n"
          "workers: [{name: a, url: \"http://127.0.0.1:9\"}]\npolicy: {decode: " +
              policy + (router.empty() ? "" : ", router: " + router) + "}\n");
    return testing::serve_moesaic("gateway on", {"gateway", at("gateway.yaml")});
  };
  for (const char* policy : {"eldr", "eldr-static"}) {
    const auto served = serve(at("router.json"), policy);
    EXPECT_EQ(served.exit_code, 0) << served.err;
    EXPECT_NE(served.out.find("gateway on"), std::string::npos) << served.out << served.err;
  }
  const auto without = serve("", "eldr");
  EXPECT_EQ(without.exit_code, 2);
  EXPECT_NE(without.err.find("policy.router"), std::string::npos) << without.err;
  write(at("bad.json"), "{}");
  const auto bad = serve(at("bad.json"), "eldr");
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_NE(bad.err.find("bad.json"), std::string::npos) << bad.err;
}

TEST_F(Fit, RoutersAreTheSameBytesAtAnyThreadCount) {
  const auto bytes = [&](const std::string& threads) {
    EXPECT_EQ(fit(at("r.json"), {"--layers", "3", "--threads", threads, "--force"}).exit_code, 0);
    return io::read_file(io::real_files(), at("r.json"), 64 << 20).value_or("");
  };
  const std::string one = bytes("1");
  EXPECT_FALSE(one.empty());
  EXPECT_EQ(one, bytes("2"));
}

TEST_F(Fit, AnExistingFileIsKeptUnlessForced) {
  write(at("router.json"), "mine");
  const auto again = fit(at("router.json"));
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_NE(again.err.find("--force"), std::string::npos) << again.err;
  EXPECT_EQ(io::read_file(io::real_files(), at("router.json"), 100).value_or(""), "mine");
  EXPECT_EQ(fit(at("router.json"), {"--force"}).exit_code, 0);
}

TEST_F(Fit, BadUsageAndBadInputExitTwoWithOneMessageAndNoOutput) {
  const auto expect = [&](const testing::ProgramResult& result, const std::string& part) {
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    EXPECT_FALSE(std::filesystem::exists(at("none.json")));
  };
  expect(fit(at("none.json"), {"--transform", "magic"}), "magic");
  expect(fit(at("none.json"), {"--transform", "gate_probability"}), "router weights");
  expect(fit(at("none.json"), {"--layers", "some"}), "all, best or a number");
  expect(fit(at("none.json"), {"--layers", "2x"}), "all, best or a number");
  expect(fit(at("none.json"), {"--layers", "5000"}), "MoE layers");
  expect(fit(at("none.json"), {"--requests", "heldout"}), "for scoring");
  expect(fit(at("none.json"), {"--predict-from", "fraction:2"}), "expected prefill");
  expect(run_moesaic({"fit", store(), "--decoders", "100000", "-o", at("none.json")}), "fewer --decoders");
  expect(run_moesaic({"fit", store(), "--decoders", "0", "-o", at("none.json")}), "--decoders");
  expect(run_moesaic({"fit", store(), "-o", at("none.json")}), "--decoders");
  expect(run_moesaic({"fit", at("missing.zarr"), "--decoders", "2", "-o", at("none.json")}), "missing.zarr");
}

TEST_F(Fit, ATraceOfCountsHasNoRequestsToLearnFrom) {
  ASSERT_EQ(run_moesaic({"import", moesaic::testing::source_path("tests/data/ingest/stat-full.pt"), "-o",
                         at("counts.zarr")})
                .exit_code,
            0);
  const auto done = run_moesaic({"fit", at("counts.zarr"), "--decoders", "2", "-o", at("none.json")});
  EXPECT_EQ(done.exit_code, 2);
  EXPECT_NE(done.err.find("holds counts"), std::string::npos) << done.err;
  EXPECT_FALSE(std::filesystem::exists(at("none.json")));
}

}  // namespace
}  // namespace moesaic
