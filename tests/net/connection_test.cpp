#include "net/connection.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <optional>

namespace moesaic::net {
namespace {

using namespace std::chrono_literals;

/// Two ends of one connection, both on `loop`.
struct Pair {
  std::optional<Connection> here, there;
};

void with_pair(const std::function<Task<void>(Loop&, Pair&)>& body) {
  Loop loop;
  auto listener = Listener::open(loop, "127.0.0.1", 0);
  ASSERT_TRUE(listener) << listener.error().message;
  const auto whole = [](Loop& the_loop, Listener& from,
                        const std::function<Task<void>(Loop&, Pair&)>& then) -> Task<void> {
    Pair pair;
    auto made = co_await connect(the_loop, "127.0.0.1", from.port(), 5s);
    auto accepted = co_await from.accept();
    EXPECT_TRUE(made && accepted);
    if (made && accepted) {
      pair.there.emplace(std::move(*made));
      pair.here.emplace(std::move(*accepted));
      pair.here->set_deadline(the_loop.now() + 20s);
      co_await then(the_loop, pair);
    }
    the_loop.stop();
  };
  loop.spawn(whole(loop, *listener, body));
  loop.run();
}

/// Sends, and ends, so that the other side finds both at once.
Task<void> send_and_end(Pair& pair, std::string_view bytes) {
  EXPECT_TRUE(co_await pair.there->write(bytes));
  co_await pair.there->finish();
}

TEST(Connection, AnEndThatCameWithTheLastBytesIsSeenByTheNextRead) {
  for (const bool waited : {false, true}) {
    with_pair([waited](Loop& loop, Pair& pair) -> Task<void> {
      if (waited) {
        loop.post([&] { loop.spawn(send_and_end(pair, "last")); });
      } else {
        co_await send_and_end(pair, "last");
      }
      EXPECT_TRUE(co_await pair.here->fill());
      EXPECT_EQ(pair.here->input(), "last");
      EXPECT_FALSE(co_await pair.here->fill());
      EXPECT_EQ(pair.here->broken(), Broken::kEnded);
      EXPECT_EQ(pair.here->input(), "last");
    });
  }
}

TEST(Connection, AnEndIsToldToWhoWatchesWhateverCameBefore) {
  for (const bool early : {false, true}) {
    with_pair([early](Loop& loop, Pair& pair) -> Task<void> {
      EXPECT_TRUE(co_await pair.there->write("request"));
      EXPECT_TRUE(co_await pair.here->fill());
      pair.here->consume(7);
      Event gone(loop);
      if (early) co_await send_and_end(pair, "next");
      pair.here->on_close([&] { gone.set(); });
      EXPECT_FALSE(gone.is_set());
      if (!early) co_await send_and_end(pair, "next");
      co_await gone.wait();
      EXPECT_EQ(pair.here->broken(), Broken::kEnded);
      EXPECT_EQ(pair.here->input(), "next");
    });
  }
}

/// Reads `bytes` of 'x'.
Task<void> swallow(Connection& connection, std::size_t bytes, Event& over) {
  std::size_t got = 0;
  while (got < bytes) {
    if (!co_await connection.fill()) break;
    const std::string_view input = connection.input();
    EXPECT_EQ(input.find_first_not_of('x'), std::string_view::npos);
    got += input.size();
    connection.consume(input.size());
  }
  EXPECT_EQ(got, bytes);
  over.set();
}

TEST(Connection, BothSidesSendMoreThanTheirSocketsHoldAtOnce) {
  with_pair([](Loop& loop, Pair& pair) -> Task<void> {
    const std::string piece(1'000'001, 'x');
    const std::vector<std::string_view> pieces(16, piece);
    const std::size_t bytes = 16 * piece.size();
    Event here(loop), there(loop), sent(loop);
    const auto send = [](Connection& to, std::span<const std::string_view> what, Event& over) -> Task<void> {
      EXPECT_TRUE(co_await to.write(what));
      over.set();
    };
    loop.spawn(send(*pair.there, pieces, sent));
    EXPECT_FALSE(sent.is_set());  // nobody reads yet
    loop.spawn(swallow(*pair.there, bytes, there));
    loop.spawn(swallow(*pair.here, bytes, here));
    EXPECT_TRUE(co_await pair.here->write(pieces));
    co_await sent.wait();
    co_await here.wait();
    co_await there.wait();
  });
}

TEST(Connection, ADeadlineEndsAReadAndAWriteThatWait) {
  with_pair([](Loop& loop, Pair& pair) -> Task<void> {
    const std::string much(64u << 20, 'x');
    Event over(loop);
    const auto read = [](Connection& from, Event& done) -> Task<void> {
      EXPECT_FALSE(co_await from.fill());
      done.set();
    };
    loop.spawn(read(*pair.here, over));
    pair.here->set_deadline(loop.now() + 20ms);
    EXPECT_FALSE(co_await pair.here->write(much));
    co_await over.wait();
    EXPECT_EQ(pair.here->broken(), Broken::kDeadline);
    EXPECT_FALSE(pair.here->is_open());
  });
}

}  // namespace
}  // namespace moesaic::net
