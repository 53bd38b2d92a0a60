// Workers behind TLS: their certificate decides whether they get requests.
#include "gateway/cluster.hpp"
#include "support/certificates.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::gateway {
namespace {

using net::Task;
using testing::Cluster;
using testing::expected_text;
using testing::Got;

constexpr const char* kStream = R"({"model":"emulated","prompt":"hello","max_tokens":8,"stream":true})";

TEST(WorkersOverTls, AreServedWhenTrustedAndDownWhenNot) {
  const testing::TemporaryFolder folder;
  const auto good = testing::make_certificate(folder.path(), "good", "DNS:engine.test");
  const auto bad = testing::make_certificate(folder.path(), "bad", "DNS:engine.test");
  Cluster cluster({.plain = 2,
                   .configure =
                       [&](Config& config) {
                         for (WorkerSpec& worker : config.workers) {
                           worker.tls = EngineTls{.ca_file = good.file, .name = "engine.test"};
                         }
                       },
                   .worker =
                       [&](emulator::WorkerConfig& worker) {
                         const auto& own = worker.engine_id == "plain0" ? good : bad;
                         worker.certificate = own.file;
                         worker.key = own.key;
                       }});
  cluster.run([&]() -> Task<void> {
    const auto untrusted = cluster.gateway().state().workers->find("plain1");
    const auto down = [&] { return untrusted->state.is(cluster.loop().now()) == WorkerState::Is::kDown; };
    co_await cluster.until(down, "the untrusted worker to be down");
    for (int i = 0; i < 4; ++i) {
      const Got got = co_await cluster.post("/v1/completions", kStream);
      EXPECT_EQ(testing::stream_text(got.body), expected_text("hello", 8));
    }
    const Got workers = co_await cluster.admin("GET", "/admin/workers");
    EXPECT_TRUE(workers.has("\"https://127.0.0.1:")) << workers.body;
    co_await cluster.expect_quiet();
  });
  EXPECT_EQ(cluster.worker(0).stats().requests, 4u);
  EXPECT_EQ(cluster.worker(1).stats().requests, 0u);
}

TEST(WorkersOverTls, AnAuthorityThatCannotBeReadStopsAReloadAndALiveWorker) {
  Cluster cluster({.plain = 1, .edit = [](Config& config) {
                     WorkerSpec worker = config.workers[0];
                     worker.name = "new";
                     worker.tls = EngineTls{.ca_file = "/nowhere/ca.pem"};
                     config.workers.push_back(worker);
                   }});
  cluster.run([&]() -> Task<void> {
    const Got reload = co_await cluster.admin("POST", "/admin/reload");
    EXPECT_EQ(reload.status, 400);
    EXPECT_TRUE(reload.has("/nowhere/ca.pem")) << reload.body;
    const Got added = co_await cluster.admin(
        "POST", "/admin/workers",
        R"({"name":"new","url":"https://127.0.0.1:1","tls":{"ca_file":"/nowhere/ca.pem"}})");
    EXPECT_EQ(added.status, 400);
    EXPECT_TRUE(added.has("/nowhere/ca.pem")) << added.body;
    EXPECT_EQ(cluster.gateway().state().workers->all().size(), 1u);
  });
}

}  // namespace
}  // namespace moesaic::gateway
