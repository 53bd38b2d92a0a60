#include <functional>

#include "net/http_client.hpp"
#include "net/http_parser.hpp"
#include "net/http_server.hpp"
#include "net/sse.hpp"

namespace moesaic::net {
namespace {

using namespace std::chrono_literals;

/// Runs a task to its end on a loop of its own.
void run(Loop& loop, std::function<Task<void>()> make) {
  const auto whole = [](Loop& the_loop, std::function<Task<void>()> body) -> Task<void> {
    co_await body();
    the_loop.stop();
  };
  loop.spawn(whole(loop, make));
  loop.run();
}

std::string error_body(int status, const std::string& message) {
  return std::to_string(status) + " " + message;
}

/// A server that answers /echo with the body, /stream with its bytes in pieces, /silent with nothing.
class EchoServer {
 public:
  explicit EchoServer(Loop& loop, ServerLimits limits = {}) : loop_(loop), limits_(limits) {
    auto listener = Listener::open(loop, "127.0.0.1", 0);
    EXPECT_TRUE(listener) << (listener ? "" : listener.error().message);
    server_ = std::make_unique<HttpServer>(
        loop, std::move(*listener), limits_, nullptr, [this](Exchange& exchange) { return handle(exchange); },
        error_body);
    server_->start();
  }
  std::uint16_t port() const { return server_->port(); }
  HttpServer& server() { return *server_; }
  int requests = 0;
  bool client_gone = false;

 private:
  Task<void> handle(Exchange& exchange) {
    ++requests;
    const std::string_view path = path_of(exchange.head().target);
    const std::vector<Header> headers{{"Content-Type", "text/plain"}};
    exchange.on_client_gone([] {});  // reads ahead, as every handler that watches its client does
    if (path == "/stream") {
      exchange.start(200, headers, std::nullopt);
      for (const char c : exchange.body()) {
        if (!co_await exchange.write(std::string(1, c))) co_return;
      }
      co_await exchange.finish();
    } else if (path == "/silent") {
      Event gone(loop_);
      exchange.on_client_gone([&] {
        client_gone = true;
        gone.set();
      });
      co_await gone.wait();
    } else if (path == "/half") {
      exchange.start(200, headers, 10);
      co_await exchange.write("half");
      exchange.abort();
    } else {
      co_await exchange.respond(200, headers, exchange.body());
    }
  }

  Loop& loop_;
  ServerLimits limits_;
  std::unique_ptr<HttpServer> server_;
};

/// Sends raw bytes and reads until the server closes.
Task<std::string> talk(Loop& loop, std::uint16_t port, std::string bytes) {
  auto connection = co_await connect(loop, "127.0.0.1", port, 2s);
  EXPECT_TRUE(connection);
  EXPECT_TRUE(co_await connection->write(bytes));
  connection->set_deadline(loop.now() + 20s);
  while (co_await connection->fill()) {
  }
  co_return std::string(connection->input());
}

TEST(Http, BodiesOfAnySizeComeBackOverOneConnection) {
  Loop loop;
  EchoServer server(loop);
  HttpPool pool(loop, "127.0.0.1", server.port(), {});
  run(loop, [&]() -> Task<void> {
    for (const std::size_t size : {0u, 1u, 4095u, 4096u, 70'000u, 3'000'000u}) {
      const std::string body(size, 'x');
      for (const char* path : {"/echo", "/stream"}) {
        if (path == std::string("/stream") && size > 70'000) continue;
        auto answer = co_await fetch(loop, pool, "POST", path, {}, body, 20s, 1u << 24);
        EXPECT_TRUE(answer) << answer.error().message;
        if (answer) {
          EXPECT_EQ(answer->body, body) << path;
        }
      }
    }
    EXPECT_EQ(server.server().connections(), 1u);
    EXPECT_EQ(pool.idle(), 1u);
    EXPECT_EQ(pool.active(), 0u);
  });
}

TEST(Http, PipelinedRequestsAreAnsweredInOrder) {
  Loop loop;
  EchoServer server(loop);
  run(loop, [&]() -> Task<void> {
    const std::string got = co_await talk(loop, server.port(),
                                          "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
                                          "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                                          "Connection: close\r\n\r\ntwo");
    const std::size_t one = got.find("\r\n\r\none"), two = got.find("\r\n\r\ntwo");
    EXPECT_NE(one, std::string::npos) << got;
    EXPECT_NE(two, std::string::npos) << got;
    EXPECT_LT(one, two);
  });
}

TEST(Http, MessagesThatCanBeReadTwoWaysAreRefused) {
  Loop loop;
  EchoServer server(loop);
  run(loop, [&]() -> Task<void> {
    for (const std::string bytes :
         {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n",
          "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "\x16\x03\x01\x02\r\n\r\n"}) {
      const std::string got = co_await talk(loop, server.port(), bytes);
      EXPECT_EQ(got.substr(0, 12), "HTTP/1.1 400") << bytes << " -> " << got;
    }
  });
  EXPECT_EQ(server.requests, 0);
}

TEST(Http, APipelinedRequestIsAnsweredOnceWhateverComesWhileItIsRead) {
  Loop loop;
  EchoServer server(loop);
  run(loop, [&]() -> Task<void> {
    const auto post = [](std::string body, std::string_view extra = "") {
      std::string request =
          "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size());
      return request.append("\r\n").append(extra).append("\r\n").append(body);
    };
    auto connection = co_await connect(loop, "127.0.0.1", server.port(), 2s);
    EXPECT_TRUE(co_await connection->write(post("one") + post("two")));
    while (connection->input().find("two") == std::string_view::npos) {
      const bool more = co_await connection->fill();
      EXPECT_TRUE(more);
      if (!more) co_return;
    }
    EXPECT_TRUE(co_await connection->write(post("three", "Connection: close\r\n")));
    while (co_await connection->fill()) {
    }
    const std::string_view got = connection->input();
    EXPECT_EQ(got.substr(got.size() - 5), "three") << got;
    EXPECT_EQ(got.find("two"), got.rfind("two")) << got;
  });
  EXPECT_EQ(server.requests, 3);
}

TEST(Http, HeadersAreThoseOfTheirMessageAlone) {
  HeaderList headers;
  for (int message = 0; message < 3; ++message) {
    for (int i = 0; i < 40; ++i) {
      headers.add("name-" + std::to_string(i),
                  std::string(message == 1 ? 1000 : 3, 'x') + std::to_string(message));
    }
    headers.clear();
    EXPECT_EQ(headers.size(), 0u);
    EXPECT_EQ(find_header(headers, "name-0"), nullptr);
    headers.add("Name-1", "short");
    EXPECT_EQ(headers.size(), 1u);
    EXPECT_EQ(*find_header(headers, "name-1"), "short");
    EXPECT_LE(headers.begin()->value.capacity(), 128u);
    EXPECT_EQ(find_header(headers, "name-2"), nullptr);
    headers.clear();
  }
}

TEST(Http, ChunkedBodiesThatComeByteByByteAreRead) {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::pair<std::string, std::string> bodies[] = {
      {"0\r\n\r\n", ""},
      {"000\r\n\r\n", ""},
      {"0;e=1\r\nX: y\r\n\r\n", ""},
      {"1\r\na\r\n0\r\n\r\n", "a"},
      {"3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n", "abcde"}};
  for (const auto& [chunks, body] : bodies) {
    HttpParser parser(HttpParser::Kind::kRequest, {});
    std::string held, read;
    for (const char c : head + chunks) {
      ASSERT_FALSE(parser.done()) << chunks;
      held += c;
      const auto used = parser.feed(held);
      ASSERT_TRUE(used) << chunks << ": " << used.error().message;
      held.erase(0, *used);
    }
    EXPECT_TRUE(parser.done()) << chunks;
    EXPECT_EQ(held, "");
    parser.take_body(read);
    EXPECT_EQ(read, body);
  }
}

TEST(Http, AByteOfAChunkIsReadWhenItComes) {
  HttpParser parser(HttpParser::Kind::kResponse, {});
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  ASSERT_EQ(*parser.feed(head), head.size());
  EXPECT_EQ(*parser.feed("1\r\na"), 4u);
  EXPECT_TRUE(parser.has_body());
  HttpParser zero(HttpParser::Kind::kResponse, {});
  ASSERT_EQ(*zero.feed(head), head.size());
  EXPECT_EQ(*zero.feed("01\r\na"), 5u);
  EXPECT_TRUE(zero.has_body());
}

TEST(Http, TrailersAreNoHeaders) {
  HttpParser parser(HttpParser::Kind::kRequest, {});
  const std::string_view text =
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nAuthorization: Bearer x\r\n\r\n";
  ASSERT_TRUE(parser.feed(text));
  EXPECT_TRUE(parser.done());
  EXPECT_EQ(parser.head().find("authorization"), nullptr);
}

TEST(Loop, DroppedTasksEndWhileWhatTheyReferToLives) {
  Loop loop;
  int ended = 0;
  const auto task = [](Loop& the_loop, int& count) -> Task<void> {
    struct Count {
      int& count;
      ~Count() { ++count; }
    };
    const Count leaving{count};
    co_await the_loop.sleep(1h);
  };
  loop.spawn(task(loop, ended));
  loop.spawn(task(loop, ended));
  EXPECT_EQ(ended, 0);
  loop.drop_tasks();
  EXPECT_EQ(ended, 2);
  loop.poll();
}

TEST(Http, HeadsAndBodiesBeyondTheLimitsAreRefused) {
  Loop loop;
  ServerLimits limits;
  limits.parse = {.head_bytes = 1024, .body_bytes = 1000, .headers = 8};
  EchoServer server(loop, limits);
  run(loop, [&]() -> Task<void> {
    const std::string long_head = "GET / HTTP/1.1\r\nX: " + std::string(5000, 'x') + "\r\n\r\n";
    EXPECT_EQ((co_await talk(loop, server.port(), long_head)).substr(9, 3), "431");
    std::string many = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < 9; ++i) many += "X: 1\r\n";
    EXPECT_EQ((co_await talk(loop, server.port(), many + "\r\n")).substr(9, 3), "431");
    EXPECT_EQ(
        (co_await talk(loop, server.port(), "POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")).substr(9, 3),
        "413");
    const std::string chunk = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n";
    EXPECT_EQ(
        (co_await talk(loop, server.port(), chunk + std::string(1001, 'x') + "\r\n0\r\n\r\n")).substr(9, 3),
        "413");
  });
  EXPECT_EQ(server.requests, 0);
}

TEST(Http, AHeadThatNeverEndsLosesItsConnection) {
  Loop loop;
  ServerLimits limits;
  limits.head_timeout = 20ms;
  EchoServer server(loop, limits);
  run(loop, [&]() -> Task<void> {
    EXPECT_EQ(co_await talk(loop, server.port(), "POST / HTTP/1.1\r\nHost: a\r\n"), "");
  });
  EXPECT_EQ(server.server().connections(), 0u);
}

TEST(Http, TheHandlerLearnsThatTheClientWentAway) {
  Loop loop;
  EchoServer server(loop);
  run(loop, [&]() -> Task<void> {
    {
      auto connection = co_await connect(loop, "127.0.0.1", server.port(), 2s);
      EXPECT_TRUE(co_await connection->write("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n"));
      while (server.requests == 0) co_await loop.sleep(1ms);
    }
    while (server.server().connections() > 0) co_await loop.sleep(1ms);
  });
  EXPECT_TRUE(server.client_gone);
}

TEST(Http, AnAnswerCutShortIsAFault) {
  Loop loop;
  EchoServer server(loop);
  HttpPool pool(loop, "127.0.0.1", server.port(), {});
  run(loop, [&]() -> Task<void> {
    auto answer = co_await fetch(loop, pool, "GET", "/half", {}, "", 5s, 1000);
    EXPECT_FALSE(answer);
    auto too_large = co_await fetch(loop, pool, "POST", "/echo", {}, std::string(2000, 'x'), 5s, 1000);
    EXPECT_FALSE(too_large);
    if (!too_large) {
      EXPECT_NE(too_large.error().message.find("larger"), std::string::npos);
    }
    auto late = co_await fetch(loop, pool, "GET", "/silent", {}, "", 10ms, 1000);
    EXPECT_FALSE(late);
    if (!late) {
      EXPECT_NE(late.error().message.find("in time"), std::string::npos);
    }
  });
  EXPECT_EQ(pool.active(), 0u);
}

TEST(Http, AKeptConnectionThatDiesIsNotUsedAgain) {
  Loop loop;
  ServerLimits limits;
  limits.idle_timeout = 5ms;
  EchoServer server(loop, limits);
  HttpPool pool(loop, "127.0.0.1", server.port(), {});
  run(loop, [&]() -> Task<void> {
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(co_await fetch(loop, pool, "POST", "/echo", {}, "a", 5s, 1000));
      while (pool.idle() > 0) co_await loop.sleep(1ms);
    }
  });
  EXPECT_EQ(server.requests, 3);
}

TEST(Http, DrainEndsIdleConnectionsAndLetsTheOthersFinish) {
  Loop loop;
  EchoServer server(loop);
  HttpPool pool(loop, "127.0.0.1", server.port(), {});
  run(loop, [&]() -> Task<void> {
    EXPECT_TRUE(co_await fetch(loop, pool, "POST", "/echo", {}, "a", 5s, 1000));
    server.server().drain();
    while (server.server().connections() > 0) co_await loop.sleep(1ms);
    EXPECT_FALSE(co_await connect(loop, "127.0.0.1", server.port(), 1s));
  });
}

TEST(Http, NobodyListeningIsAnErrorThatNamesThePeer) {
  Loop loop;
  std::uint16_t port = 0;
  {
    auto listener = Listener::open(loop, "127.0.0.1", 0);
    port = listener->port();
  }
  run(loop, [&]() -> Task<void> {
    auto connection = co_await connect(loop, "127.0.0.1", port, 1s);
    EXPECT_FALSE(connection);
    if (!connection) {
      EXPECT_NE(connection.error().message.find("127.0.0.1:"), std::string::npos);
    }
  });
  EXPECT_FALSE(Listener::open(loop, "not an address", 0));
}

TEST(Sse, WholeEventsAreFoundAtEveryCut) {
  const std::string stream =
      "data: a\n\ndata: b\r\n\r\n: comment\n\ndata: {\"x\":1}\ndata: 2\n\ndata: [DONE]\n\n";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    SseSplitter splitter;
    std::string held, out;
    for (const std::string_view piece :
         {std::string_view(stream).substr(0, cut), std::string_view(stream).substr(cut)}) {
      const std::size_t whole = splitter.feed(piece);
      if (whole > 0) {
        out += held;
        held.clear();
      }
      out += piece.substr(0, whole);
      held += piece.substr(whole);
    }
    EXPECT_EQ(out, stream) << cut;
    EXPECT_EQ(held, "") << cut;
    EXPECT_EQ(splitter.events(), 5u) << cut;
    EXPECT_TRUE(splitter.saw_done());
  }
}

TEST(Sse, ALineFeedCutFromItsReturnEndsAnEventOnlyWhereTheReturnDid) {
  SseSplitter splitter;
  EXPECT_EQ(splitter.feed("data: a\r"), 0u);
  EXPECT_EQ(splitter.feed("\ndata: b"), 0u) << "a line has ended, its event has not";
  EXPECT_EQ(splitter.feed("\r\n\r"), 3u);
  EXPECT_EQ(splitter.feed("\n"), 1u);
  EXPECT_EQ(splitter.events(), 1u);
}

TEST(Sse, AnEventThatIsNotWholeIsKeptBack) {
  SseSplitter splitter;
  EXPECT_EQ(splitter.feed("data: a\n\ndata: b\n"), 9u);
  EXPECT_EQ(splitter.feed("more"), 0u);
  EXPECT_EQ(splitter.events(), 1u);
  EXPECT_FALSE(splitter.saw_done());
}

}  // namespace
}  // namespace moesaic::net
