#include <cmath>

#include "core/thread_pool.hpp"
#include "io/memory_files.hpp"
#include "trace/store_fixture.hpp"
#include "trace/trace.hpp"

namespace moesaic::trace {
namespace {

using namespace moesaic::trace::testing;

/// Reads [begin, end) of every layer and compares.
void expect_tokens(const Trace& trace, const std::vector<ExpertId>& expected, std::uint64_t begin,
                   std::uint64_t end) {
  const std::size_t layers = trace.shape().layers.size(), k = trace.shape().top_k;
  std::vector<ExpertId> out((end - begin) * k);
  for (std::size_t l = 0; l < layers; ++l) {
    const Status read = trace.read_layer(l, begin, end, out);
    ASSERT_TRUE(read) << read.error().message;
    for (std::uint64_t t = begin; t < end; ++t) {
      for (std::size_t j = 0; j < k; ++j) {
        ASSERT_EQ(out[(t - begin) * k + j], expected[(t * layers + l) * k + j])
            << "token " << t << " layer " << l;
      }
    }
  }
}

TEST(Store, GivesBackWhatWasAddedSortedInEachToken) {
  for (const std::size_t experts : {8u, 255u, 256u, 384u}) {
    io::MemoryFiles files;
    const MadeTrace made = make_trace(experts, 30, made_shape(3, experts, 4));
    const Status written = write(files, "t", made);
    ASSERT_TRUE(written) << written.error().message;
    const auto trace = Trace::open(files, "t");
    ASSERT_TRUE(trace) << trace.error().message;
    EXPECT_EQ(trace->kind(), Kind::kTokens);
    EXPECT_EQ(trace->shape(), made.shape);
    EXPECT_EQ(trace->order(), IdOrder::kSet);
    EXPECT_FALSE(trace->has_weights());
    EXPECT_EQ(trace->provenance().format, "made");
    EXPECT_EQ(trace->provenance().sources, made.provenance.sources);
    EXPECT_EQ(trace->provenance().anomalies, made.provenance.anomalies);
    EXPECT_EQ(trace->digest().size(), 32u);
    const std::vector<ExpertId> expected = sorted_experts(made);
    ASSERT_EQ(trace->tokens() * 12, expected.size());
    expect_tokens(*trace, expected, 0, trace->tokens());
    expect_tokens(*trace, expected, 5, 5);
    expect_tokens(*trace, expected, 15, 17);
    expect_tokens(*trace, expected, 63, 130);
    EXPECT_FALSE(files.status("t.partial")->exists);
  }
}

TEST(Store, KeepsTheRequestTable) {
  io::MemoryFiles files;
  const MadeTrace made = make_trace(3, 25, made_shape(2, 8, 2));
  ASSERT_TRUE(write(files, "t", made));
  const auto trace = Trace::open(files, "t");
  ASSERT_TRUE(trace) << trace.error().message;
  const RequestTable& requests = trace->requests();
  std::size_t r = 0;
  std::uint64_t start = 0;
  for (const MadeRecord& record : made.records) {
    const std::uint64_t tokens = record.experts.size() / 4;
    if (record.anonymous == 0) {
      ASSERT_LT(r, requests.size());
      EXPECT_EQ(requests.id[r], record.request.id);
      EXPECT_EQ(requests.domains[requests.domain[r]], record.request.domain);
      EXPECT_EQ(requests.start[r], start);
      EXPECT_EQ(requests.prefill_tokens[r], record.request.prefill_tokens);
      EXPECT_EQ(requests.decode_tokens[r], record.request.decode_tokens);
      EXPECT_EQ(requests.arrival_ns[r], record.request.arrival_ns);
      ++r;
    }
    start += tokens;
  }
  EXPECT_EQ(r, requests.size());
}

TEST(Store, KeepsWeightsBesideTheirExperts) {
  io::MemoryFiles files;
  const MadeTrace made = make_trace(4, 20, made_shape(2, 16, 3), true);
  ASSERT_TRUE(write(files, "t", made));
  const auto trace = Trace::open(files, "t");
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_TRUE(trace->has_weights());
  std::vector<ExpertId> experts(trace->tokens() * 3);
  std::vector<float> weights(experts.size());
  for (std::size_t l = 0; l < 2; ++l) {
    ASSERT_TRUE(trace->read_layer(l, 0, trace->tokens(), experts));
    ASSERT_TRUE(trace->read_weights(l, 0, trace->tokens(), weights));
    std::uint64_t token = 0;
    for (const MadeRecord& record : made.records) {
      for (std::size_t t = 0; t * 6 < record.experts.size(); ++t, ++token) {
        for (std::size_t j = 0; j < 3; ++j) {
          const std::size_t from = (t * 2 + l) * 3 + j;
          if (record.experts[from] == kMissingExpert) continue;
          const auto ids = std::span(experts).subspan(token * 3, 3);
          const auto at = std::ranges::find(ids, record.experts[from]) - ids.begin();
          ASSERT_LT(at, 3);
          EXPECT_EQ(weights[token * 3 + static_cast<std::size_t>(at)], record.weights[from]);
        }
      }
    }
    for (std::size_t i = 0; i < experts.size(); ++i)
      EXPECT_EQ(experts[i] == kMissingExpert, std::isnan(weights[i]));
  }
}

TEST(Store, KeepsTheOrderOfTheSourceOnRequest) {
  io::MemoryFiles files;
  MadeTrace made = make_trace(5, 10, made_shape(1, 8, 4));
  made.options.order = IdOrder::kScore;
  ASSERT_TRUE(write(files, "t", made));
  const auto trace = Trace::open(files, "t");
  ASSERT_TRUE(trace);
  EXPECT_EQ(trace->order(), IdOrder::kScore);
  std::vector<ExpertId> expected, out(trace->tokens() * 4);
  for (const MadeRecord& record : made.records) {
    expected.insert(expected.end(), record.experts.begin(), record.experts.end());
  }
  ASSERT_TRUE(trace->read_layer(0, 0, trace->tokens(), out));
  EXPECT_EQ(out, expected);
}

TEST(Store, IsTheSameBytesAtAnyThreadCount) {
  io::MemoryFiles files;
  MadeTrace made = make_trace(6, 60, made_shape(5, 32, 4), true);
  ASSERT_TRUE(write(files, "one", made));
  for (const std::size_t threads : {2u, 5u}) {
    ThreadPool pool(threads);
    made.options.pool = &pool;
    const std::string path = "pool" + std::to_string(threads);
    ASSERT_TRUE(write(files, path, made));
    EXPECT_EQ(files.contents(path), files.contents("one"));
  }
}

TEST(Store, DigestTellsDataApartButNotTheirSources) {
  io::MemoryFiles files;
  const auto digest = [&](const std::string& name, const MadeTrace& made) {
    EXPECT_TRUE(write(files, name, made));
    return Trace::open(files, name)->digest();
  };
  const MadeTrace made = make_trace(7, 20, made_shape(2, 8, 2));
  const std::string first = digest("first", made);
  MadeTrace elsewhere = made;
  elsewhere.provenance.sources = {"b.json"};
  EXPECT_EQ(digest("elsewhere", elsewhere), first);
  MadeTrace other = made;
  ExpertId& id = other.records[0].experts[0];
  id = id == ExpertId{0} ? ExpertId{1} : ExpertId{0};
  EXPECT_NE(digest("other", other), first);
  MadeTrace renamed = made;
  renamed.records.back().request.id = "another";
  renamed.records.back().anonymous = 0;
  renamed.records.back().request.decode_tokens =
      static_cast<std::uint32_t>(made.records.back().experts.size() / 4) -
      renamed.records.back().request.prefill_tokens;
  renamed.records.back().request.arrival_ns = 0;
  EXPECT_NE(digest("renamed", renamed), first);
  MadeTrace model = made;
  model.shape.model = "other";
  EXPECT_NE(digest("model", model), first);
}

TEST(Store, RepeatedIdsBecomeUniqueAndAreReported) {
  io::MemoryFiles files;
  const ModelShape shape = made_shape(1, 4, 1);
  auto writer = TokenWriter::open(files, "t", shape, {.fingerprint = "f"});
  ASSERT_TRUE(writer);
  const std::vector<ExpertId> one(1, ExpertId{2});
  for (const char* id : {"a", "a#2", "a", "b", "a"}) {
    ASSERT_TRUE(writer->add_request({.id = id, .domain = "d", .prefill_tokens = 0, .decode_tokens = 1}, one));
  }
  ASSERT_TRUE(writer->finish(4, {}));
  const auto trace = Trace::open(files, "t");
  ASSERT_TRUE(trace);
  EXPECT_EQ(trace->requests().id, (std::vector<std::string>{"a", "a#2", "a#3", "b", "a#4"}));
  ASSERT_EQ(trace->provenance().anomalies.size(), 1u);
  EXPECT_EQ(trace->provenance().anomalies[0].count, 2u);
  EXPECT_EQ(trace->provenance().anomalies[0].kind, "repaired");
}

TEST(Store, MayBeEmpty) {
  io::MemoryFiles files;
  const MadeTrace made = make_trace(8, 0, made_shape(2, 8, 2));
  ASSERT_TRUE(write(files, "t", made));
  const auto trace = Trace::open(files, "t");
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->tokens(), 0u);
  EXPECT_EQ(trace->requests().size(), 0u);
  EXPECT_TRUE(trace->read_layer(1, 0, 0, {}));
}

TEST(Store, AnUnknownNumberOfExpertsIsSettledAtTheEnd) {
  io::MemoryFiles files;
  for (const std::size_t records : {1u, 40u}) {  // less than a piece, and several shards
    MadeTrace made = make_trace(9, records, made_shape(2, 8, 2));
    made.shape.experts = 65'534;
    if (records == 1) made.options.layout = {};
    const std::string path = std::to_string(records);
    ASSERT_TRUE(write(files, path, made));
    const auto trace = Trace::open(files, path);
    ASSERT_TRUE(trace) << trace.error().message;
    EXPECT_EQ(trace->shape().experts, 8u);
    expect_tokens(*trace, sorted_experts(made), 0, trace->tokens());
    const auto metadata = io::read_file(files, path + "/experts/zarr.json", 10'000);
    EXPECT_EQ(metadata->find("\"uint8\"") != std::string::npos, records == 1) << *metadata;
    made.final_experts = 3;
    const Status few = write(files, path + "few", made);
    ASSERT_FALSE(few);
    EXPECT_NE(few.error().message.find("largest id"), std::string::npos) << few.error().message;
  }
}

TEST(Store, AnIdThatIsNoExpertIsNamed) {
  io::MemoryFiles files;
  auto writer = TokenWriter::open(files, "t", made_shape(2, 4, 1), {.fingerprint = "f"});
  ASSERT_TRUE(writer);
  const std::vector<ExpertId> experts{ExpertId{0}, ExpertId{1}, kMissingExpert, ExpertId{4}};
  const Status added =
      writer->add_request({.id = "r", .domain = "", .prefill_tokens = 1, .decode_tokens = 1}, experts);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().kind, ErrorKind::kBadInput);
  EXPECT_EQ(added.error().message,
            "request \"r\": token 1 of layer 3 has expert 4, expected ids below 4; is the model right?");
}

}  // namespace
}  // namespace moesaic::trace
