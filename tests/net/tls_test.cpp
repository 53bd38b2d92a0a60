// TLS on both sides of real sockets: who is trusted, who is not, and that nothing is sent to the latter.
#include <functional>

#include "net/http_client.hpp"
#include "net/http_server.hpp"
#include "support/certificates.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::net {
namespace {

using namespace std::chrono_literals;

class Tls : public ::testing::Test {
 protected:
  Tls() : certificate_(testing::make_certificate(folder_.path(), "engine", "DNS:engine.test,IP:127.0.0.1")) {
    auto context = TlsContext::server(certificate_.file, certificate_.key);
    EXPECT_TRUE(context) << (context ? "" : context.error().message);
    server_context_.emplace(std::move(*context));
    auto listener = Listener::open(loop_, "127.0.0.1", 0);
    server_ = std::make_unique<HttpServer>(
        loop_, std::move(*listener), limits_, &*server_context_,
        [this](Exchange& exchange) { return handle(exchange); },
        [](int, const std::string& message) { return message; });
    server_->start();
  }

  Task<void> handle(Exchange& exchange) {
    ++requests_;
    exchange.on_client_gone([] {});
    const std::vector<Header> headers{{"Content-Type", "text/plain"}};
    co_await exchange.respond(200, headers, exchange.body());
  }

  /// The body that comes back, or why there is none.
  Task<std::string> ask(HttpPool& pool, std::string body) {
    const Result<HttpAnswer> answer =
        co_await fetch(loop_, pool, "POST", "/", {}, std::move(body), 5s, 1 << 22);
    co_return answer ? answer->body : "failed: " + answer.error().message;
  }

  TlsPeer peer(const std::string& ca_file, const std::string& name, bool verify = true) {
    auto context = TlsContext::client(ca_file, verify);
    EXPECT_TRUE(context) << (context ? "" : context.error().message);
    return {std::make_shared<const TlsContext>(std::move(*context)), name};
  }

  void run(std::function<Task<void>()> make) {
    const auto whole = [](Loop& loop, std::function<Task<void>()> body) -> Task<void> {
      co_await body();
      loop.stop();
    };
    loop_.spawn(whole(loop_, make));
    loop_.run();
  }

  Loop loop_;
  testing::TemporaryFolder folder_;
  testing::Certificate certificate_;
  ServerLimits limits_;
  std::optional<TlsContext> server_context_;
  std::unique_ptr<HttpServer> server_;
  int requests_ = 0;
};

TEST_F(Tls, ATrustedServerIsAskedByNameOrAddressOnOneConnection) {
  run([&]() -> Task<void> {
    for (const std::string name : {"engine.test", "127.0.0.1"}) {
      HttpPool pool(loop_, "127.0.0.1", server_->port(), {}, peer(certificate_.file, name));
      const std::string large(300'000, 'x');
      const std::string first = co_await ask(pool, large), second = co_await ask(pool, "b");
      EXPECT_EQ(first, large);
      EXPECT_EQ(second, "b");
      EXPECT_EQ(pool.idle(), 1u);
      EXPECT_TRUE(pool.url().starts_with("https://127.0.0.1:"));
    }
  });
  EXPECT_EQ(requests_, 4);
}

TEST_F(Tls, NothingIsSentToAServerThatIsNotTrusted) {
  const auto other = testing::make_certificate(folder_.path(), "other", "DNS:engine.test");
  run([&]() -> Task<void> {
    const std::pair<TlsPeer, std::string> cases[] = {
        {peer(other.file, "engine.test"), "its certificate is not trusted: self-signed certificate"},
        {peer("", "engine.test"), "its certificate is not trusted: self-signed certificate"},
        {peer(certificate_.file, "another.test"), "its certificate is not trusted: hostname mismatch"},
        {peer(certificate_.file, "127.0.0.2"), "its certificate is not trusted: IP address mismatch"}};
    for (const auto& [who, why] : cases) {
      HttpPool pool(loop_, "127.0.0.1", server_->port(), {}, who);
      const std::string said = co_await ask(pool, "secret");
      EXPECT_NE(said.find(why), std::string::npos) << said;
    }
    EXPECT_EQ(requests_, 0);
    HttpPool careless(loop_, "127.0.0.1", server_->port(), {}, peer("", "another.test", false));
    const std::string taken = co_await ask(careless, "a");
    EXPECT_EQ(taken, "a");
  });
}

TEST_F(Tls, TheNameIsAskedForAndAPeerThatSpeaksNoTlsOrNothingIsGivenUp) {
  auto listener = Listener::open(loop_, "127.0.0.1", 0);
  std::string hello;
  const auto accept = [](Listener& from, std::string& out, std::string say) -> Task<void> {
    Result<Connection> connection = co_await from.accept();
    EXPECT_TRUE(connection);
    if (!connection) co_return;
    co_await connection->fill();
    out = connection->input();
    if (!say.empty()) co_await connection->write(say);
    co_await connection->fill();
  };
  run([&]() -> Task<void> {
    const std::string answers[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", ""};
    for (const std::string& answer : answers) {
      loop_.spawn(accept(*listener, hello, answer));
      HttpPool pool(loop_, "127.0.0.1", listener->port(), {.connect_timeout = 100ms},
                    peer(certificate_.file, "engine.test"));
      const std::string said = co_await ask(pool, "secret");
      EXPECT_NE(said.find(answer.empty() ? "no answer in time" : "wrong version number"), std::string::npos)
          << said;
      EXPECT_NE(hello.find("engine.test"), std::string::npos);
    }
  });
}

TEST_F(Tls, FilesThatAreNoneAreNamed) {
  const auto missing = TlsContext::client("/nowhere/ca.pem", true);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("/nowhere/ca.pem: expected certificates in PEM form"),
            std::string::npos);
  EXPECT_FALSE(TlsContext::server("/nowhere/cert.pem", "/nowhere/key.pem"));
}

}  // namespace
}  // namespace moesaic::net
