// Stores that are damaged, cut short or hostile: one clear error, nothing read past an end.
#include <cstring>

#include "io/crc32c.hpp"
#include "io/memory_files.hpp"
#include "io/zarr_array.hpp"
#include "io/zarr_shard.hpp"
#include "trace/inspect.hpp"
#include "trace/store_fixture.hpp"
#include "trace/trace.hpp"

namespace moesaic::trace {
namespace {

using namespace moesaic::trace::testing;
using io::MemoryFiles;

class Damaged : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(write(files, "t", make_trace(31, 24, made_shape(2, 8, 2), true))); }

  std::string bytes(const std::string& path) { return *io::read_file(files, "t/" + path, 1u << 20); }
  void put(const std::string& path, const std::string& text) {
    ASSERT_TRUE((*files.create("t/" + path))->append(io::as_bytes(text)));
  }
  /// Replaces the first `from` in a file.
  void edit(const std::string& path, const std::string& from, const std::string& to) {
    std::string text = bytes(path);
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from << " in " << text;
    put(path, text.replace(at, from.size(), to));
  }
  /// The error of opening and reading everything.
  std::string error() {
    const auto trace = Trace::open(files, "t");
    if (!trace) return trace.error().message;
    const auto verified = verify(files, *trace);
    return verified ? "none" : verified.error().message;
  }
  void expect_error(const std::string& part) {
    const std::string message = error();
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }

  MemoryFiles files;
};

TEST_F(Damaged, NothingIsWrongAtFirst) { EXPECT_EQ(error(), "none"); }

TEST_F(Damaged, AnyFlippedBitIsFoundUnlessTheDecodedContentsAreTheSame) {
  const std::string digest = Trace::open(files, "t")->digest();
  std::size_t flips = 0, found = 0;
  for (const auto& [path, good] : files.contents("t")) {
    if (path.ends_with("zarr.json")) continue;  // white space and provenance may change
    const std::size_t step = std::max<std::size_t>(1, good.size() / 40);
    for (std::size_t at = 0; at < good.size(); at += step) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << ((at + 1) % 8)));
      put(path, bad);
      ++flips;
      if (error() != "none") {
        ++found;  // a flip in a zstd frame may choose another way to say the same
      } else {
        EXPECT_EQ(*recompute_digest(files, *Trace::open(files, "t")), digest) << path << " byte " << at;
      }
    }
    put(path, good);
  }
  EXPECT_GT(flips, 500u);
  EXPECT_GT(found * 100, flips * 95);
}

TEST_F(Damaged, AnyCutFileIsFound) {
  for (const auto& [path, good] : files.contents("t")) {
    for (const std::size_t keep : {std::size_t{0}, good.size() / 2, good.size() - 1}) {
      if (path.ends_with("zarr.json") && keep == good.size() - 1) continue;  // the last line break
      put(path, good.substr(0, keep));
      EXPECT_NE(error(), "none") << path << " cut to " << keep;
    }
    ASSERT_TRUE(files.remove_all("t/" + path));
    EXPECT_NE(error(), "none") << path << " removed";
    put(path, good);
  }
}

TEST_F(Damaged, MetadataThatWeWouldReadWronglyIsRefusedByKey) {
  const std::string experts = "experts/zarr.json", root = "zarr.json";
  const struct {
    std::string path, from, to, message;
  } cases[] = {
      {root, "moesaic.trace/1", "moesaic.trace/2", "another version"},
      {root, "moesaic.trace/1", "something", "no trace store"},
      {root, "\"experts\": 8", "\"experts\": 9999999", "model shape"},
      {root, "\"experts\": 8", "\"experts\": 3.5", "\"experts\""},
      {root, "\"top_k\": 2", "\"top_k\": 3", "[tokens, 2, 3]"},
      {root, "\"layers\": [1, 3]", "\"layers\": [3, 1]", "ascending"},
      {root, "\"kind\": \"tokens\"", "\"kind\": \"words\"", "\"kind\""},
      {root, "\"kind\": \"tokens\"", "\"kind\": \"counts\"", "unit"},
      {root, "\"order\": \"set\"", "\"order\": 7", "\"order\""},
      {root, "\"weights\": true", "\"weights\": null", "\"weights\""},
      {root, "\"digest\": \"", "\"digest\": \"x", "32 hexadecimal"},
      {root, "\"node_type\": \"group\"", "\"node_type\": \"array\"", "node_type"},
      {root, "\"count\": 1", "\"count\": -1", "\"count\""},
      {experts, "\"data_type\": \"uint8\"", "\"data_type\": \"uint64\"", "fill_value"},
      {experts, "\"data_type\": \"uint8\"", "\"data_type\": \"complex64\"", "data_type"},
      {experts, "\"separator\": \".\"", "\"separator\": \"/\"", "chunk_key_encoding"},
      {experts, "\"name\": \"zstd\"", "\"name\": \"gzip\"", "codecs"},
      {experts, "\"index_location\": \"end\"", "\"index_location\": \"start\"", "codecs"},
      {experts, "\"fill_value\": 255", "\"fill_value\": 0", "fill_value"},
      {experts, "\"zarr_format\": 3", "\"zarr_format\": 2", "zarr_format"},
      {experts, "\"name\": \"regular\"", "\"name\": \"rectangular\"", "chunk_grid"},
      {experts, "\"chunk_shape\": [64, 2, 2]", "\"chunk_shape\": [63, 2, 2]", "divide"},
      {experts, "\"chunk_shape\": [64, 2, 2]", "\"chunk_shape\": [0, 2, 2]", "dimension 0"},
      {experts, "\"chunk_shape\": [16, 1, 2]", "\"chunk_shape\": [16, 2, 2]", "inner chunks"},
      {experts, "\"chunk_shape\": [64, 2, 2]", "\"chunk_shape\": [1099511627776, 2, 2]", "at most"},
      {experts, "\"shape\": [", "\"shape\": [18446744073709551615, ", "one to three"},
      {experts, "\"shape\": [", "\"shape\": [1152921504606846976], \"x\": [", "dimensions"},
      {experts, "\"shape\": [", "\"shape\": \"no\", \"x\": [", "\"shape\""},
      {experts, "\"attributes\": {}", "\"attributes\": {}, \"storage_transformers\": [1]",
       "storage_transformers"},
      {"request/domain/zarr.json", "\"labels\": [", "\"labels\": [3, ", "labels"},
      {"request/start/zarr.json", "uint64", "uint32", "fill_value"},
      {"request/start/zarr.json", "\"chunk_shape\": [", "\"chunk_shape\": [1099511627776], \"x\": [",
       "at most"},
  };
  for (const auto& c : cases) {
    const std::string good = bytes(c.path);
    edit(c.path, c.from, c.to);
    SCOPED_TRACE(c.to);
    expect_error(c.message);
    put(c.path, good);
  }
  EXPECT_EQ(error(), "none");
}

TEST_F(Damaged, AHugeClaimedShapeCostsNothingButAnError) {
  const std::string text = bytes("experts/zarr.json");
  const std::size_t at = text.find("\"shape\": [") + 10;
  put("experts/zarr.json", text.substr(0, at) + "1099511627776" + text.substr(text.find(',', at)));
  expect_error("is missing");
}

TEST_F(Damaged, AShardIndexWithAbsurdSpansIsRefused) {
  const std::string good = bytes("experts/c.0.0.0");
  const std::size_t index = good.size() - 4 - 8 * sizeof(io::PieceSpan);
  const auto with_first_span = [&](io::PieceSpan span) {
    std::string bad = good;
    std::memcpy(bad.data() + index, &span, sizeof span);
    const std::uint32_t crc =
        io::crc32c(io::as_bytes(std::string_view(bad).substr(index, bad.size() - 4 - index)));
    std::memcpy(bad.data() + bad.size() - 4, &crc, sizeof crc);
    put("experts/c.0.0.0", bad);
  };
  const std::uint64_t huge = ~std::uint64_t{0};
  with_first_span({.offset = huge - 1, .bytes = 10});
  expect_error("expected a span");
  with_first_span({.offset = 0, .bytes = huge - 1});
  expect_error("expected a span");
  with_first_span({.offset = index - 1, .bytes = 2});
  expect_error("expected a span");
  with_first_span({.offset = huge, .bytes = huge});
  expect_error("inner chunk 0 is missing");
  with_first_span({.offset = 0, .bytes = 0});
  expect_error("not a zstd frame");
  with_first_span({.offset = 1, .bytes = 10});
  expect_error("not a zstd frame");
}

TEST_F(Damaged, APieceOfAnotherSizeOrWithForeignIdsIsRefused) {
  const auto with_pieces = [&](const std::vector<std::uint8_t>& values) {
    const io::EncodedPiece piece = io::encode_piece(std::as_bytes(std::span(values)));
    const std::vector<io::EncodedPiece> pieces(8, piece);
    ASSERT_TRUE(io::write_shard(files, "t/experts/c.0.0.0", pieces, 4));
  };
  with_pieces(std::vector<std::uint8_t>(31, 1));
  expect_error("claims 31 bytes, expected 32");
  with_pieces(std::vector<std::uint8_t>(1u << 20, 1));
  expect_error("claims 1048576 bytes, expected 32");
  with_pieces(std::vector<std::uint8_t>(32, 8));
  expect_error("no expert of 8");
  std::vector<std::uint8_t> unsorted(32, 1);
  unsorted[1] = 0;
  with_pieces(unsorted);
  expect_error("not sorted");
  with_pieces(std::vector<std::uint8_t>(32, 0xFF));
  expect_error("digest");
  with_pieces(std::vector<std::uint8_t>(32, 1));
  expect_error("an expert without a weight");
}

TEST_F(Damaged, ARequestTableThatDoesNotFitTheTokensIsRefused) {
  const auto requests = Trace::open(files, "t")->requests();
  auto starts = requests.start;
  starts.back() = 1u << 30;
  ASSERT_TRUE(
      io::write_column<std::uint64_t>(files, "t/request/start", std::span<const std::uint64_t>(starts)));
  expect_error("expected a span");
  ASSERT_TRUE(io::write_column<std::uint64_t>(files, "t/request/start",
                                              std::span<const std::uint64_t>(requests.start)));
  EXPECT_EQ(error(), "none");
  const std::vector<std::uint64_t> ends(requests.size(), 1u << 20);
  ASSERT_TRUE(io::write_column<std::uint64_t>(files, "t/request/id", std::span<const std::uint64_t>(ends)));
  expect_error("request/id");
}

TEST_F(Damaged, NoStoreAtAllIsExplained) {
  ASSERT_TRUE(files.remove_all("t/zarr.json"));
  expect_error("no zarr.json");
  ASSERT_TRUE(files.remove_all("t"));
  expect_error("no such trace store");
  ASSERT_TRUE(files.make_directories("t.partial"));
  expect_error("interrupted");
}

TEST(Inspect, CountsMissingAndRepeatedIds) {
  MemoryFiles files;
  auto writer = TokenWriter::open(files, "t", made_shape(1, 8, 3), {.fingerprint = "f"});
  ASSERT_TRUE(writer);
  const std::vector<ExpertId> ids{ExpertId{1}, ExpertId{1},    ExpertId{1},
                                  ExpertId{2}, kMissingExpert, kMissingExpert};
  ASSERT_TRUE(writer->add_anonymous(2, ids));
  ASSERT_TRUE(writer->finish(8, {}));
  const auto trace = Trace::open(files, "t");
  const auto found = verify(files, *trace);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, (Verification{.values = 6, .missing = 2, .repeated = 2}));
  EXPECT_GT(*data_bytes(files, *trace), 0u);
}

}  // namespace
}  // namespace moesaic::trace
