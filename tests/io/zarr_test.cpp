#include <cstring>

#include "io/crc32c.hpp"
#include "io/memory_files.hpp"
#include "io/zarr_array.hpp"

namespace moesaic::io {
namespace {

ZarrArray small_array() {
  return {.type = ZarrType::kUint16, .shape = {5, 3}, .chunk = {4, 2}, .inner = {2, 1}, .attributes = {}};
}

TEST(Crc32c, EqualsThePublishedVectors) {  // RFC 3720 B.4
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\0'))), 0x8A9136AAu);
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\xFF'))), 0x62A8AB43u);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(ZarrPiece, RoundTripsAndHashesDecodedBytes) {
  for (const std::size_t size : {0u, 1u, 1000u, 100'000u}) {
    std::string raw(size, 'x');
    for (std::size_t i = 0; i < size; i += 3) raw[i] = static_cast<char>(i * i);
    const EncodedPiece piece = encode_piece(as_bytes(raw));
    EXPECT_EQ(encode_piece(as_bytes(raw)).bytes, piece.bytes);
    EXPECT_EQ(piece.hash, hash128(as_bytes(raw)));
    EXPECT_LE(piece.bytes.size(), encoded_bound(size));
    std::string out(size, '\0');
    ASSERT_TRUE(decode_piece(as_bytes(piece.bytes), std::as_writable_bytes(std::span(out)), "p"));
    EXPECT_EQ(out, raw);
    std::string longer(size + 1, '\0');
    EXPECT_FALSE(decode_piece(as_bytes(piece.bytes), std::as_writable_bytes(std::span(longer)), "p"));
  }
}

TEST(ZarrPiece, HashesGoToTextAndBack) {
  const Hash128 hash = hash128(as_bytes("moesaic"));
  Hash128 back;
  ASSERT_TRUE(parse_hex(hex(hash), back));
  EXPECT_EQ(back, hash);
  EXPECT_FALSE(parse_hex(hex(hash).substr(1), back));
  EXPECT_FALSE(parse_hex(std::string(32, 'G'), back));
}

TEST(ZarrMetadata, ReadsWhatItWrites) {
  ZarrArray array = small_array();
  array.attributes["labels"] = Json(Json::Array{"a"});
  for (const bool sharded : {true, false}) {
    if (!sharded) array.inner.clear();
    const auto read = parse_array_metadata(array_metadata(array), "m");
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->type, array.type);
    EXPECT_EQ(read->shape, array.shape);
    EXPECT_EQ(read->chunk, array.chunk);
    EXPECT_EQ(read->inner, array.inner);
    EXPECT_EQ(read->attributes, array.attributes);
  }
}

TEST(ZarrMetadata, ErrorsNameFileAndKey) {
  for (const char* text : {"", "[]", "{}", "{\"zarr_format\":3,\"node_type\":\"array\"}"}) {
    const auto read = parse_array_metadata(text, "some/zarr.json");
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().kind, ErrorKind::kBadInput);
    EXPECT_TRUE(read.error().message.starts_with("some/zarr.json")) << read.error().message;
  }
}

TEST(ZarrShard, KeepsColumnsTogetherAndFindsEveryPiece) {
  MemoryFiles files;
  std::vector<EncodedPiece> pieces(6);
  for (std::size_t i = 0; i < 6; ++i) {
    if (i != 3) pieces[i] = encode_piece(as_bytes(std::string(i + 1, 'a')));
  }
  const auto size = write_shard(files, "s", pieces, 3);  // a [3, 2] grid
  ASSERT_TRUE(size);
  const auto file = files.open("s");
  EXPECT_EQ(*size, (*file)->size());
  const auto index = read_shard_index(**file, "s", 6, 1000);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_TRUE((*index)[3].absent());
  std::uint64_t end = 0;
  for (const std::size_t i : {0u, 2u, 4u, 1u, 5u}) {
    EXPECT_EQ((*index)[i], (PieceSpan{.offset = end, .bytes = pieces[i].bytes.size()}));
    end += pieces[i].bytes.size();
  }
  EXPECT_FALSE(read_shard_index(**file, "s", 6, 5));     // larger than a piece can be
  EXPECT_FALSE(read_shard_index(**file, "s", 7, 1000));  // another number of pieces
}

TEST(ZarrReader, ReadsPiecesWithTheirPaddingAndMissesNoChunk) {
  MemoryFiles files;
  ASSERT_TRUE(files.make_directories("a"));
  const ZarrArray array = small_array();  // chunks [2, 2], pieces [3, 3]
  for (std::uint64_t row = 0; row < 2; ++row) {
    for (std::uint64_t column = 0; column < 2; ++column) {
      std::vector<EncodedPiece> pieces;
      for (std::uint16_t i = 0; i < 4; ++i) {
        const std::vector<std::uint16_t> values(2, static_cast<std::uint16_t>(row * 100 + column * 10 + i));
        pieces.push_back(encode_piece(std::as_bytes(std::span(values))));
      }
      ASSERT_TRUE(write_shard(files, "a/" + chunk_key({row, column}), pieces, 2));
    }
  }
  ASSERT_TRUE(write_array_metadata(files, "a", array));
  const auto reader = ZarrReader::open(files, "a");
  ASSERT_TRUE(reader) << reader.error().message;
  std::vector<std::uint16_t> values(2);
  ASSERT_TRUE(reader->read_piece({1, 2}, std::as_writable_bytes(std::span(values))));
  EXPECT_EQ(values[0], 12);  // chunk (0, 1), piece (1, 0) inside: third of four
  ASSERT_TRUE(reader->read_piece({2, 0}, std::as_writable_bytes(std::span(values))));
  EXPECT_EQ(values[0], 100);
  EXPECT_TRUE(reader->content_hash());
  ASSERT_TRUE(files.remove_all("a/c.1.1"));
  const auto missing = ZarrReader::open(files, "a");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("\"c.1.1\" is missing"), std::string::npos);
}

TEST(ZarrColumn, RoundTripsAtEveryChunkEdge) {
  for (const std::size_t size : {0u, 1u, 65'535u, 65'536u, 65'537u, 200'000u}) {
    MemoryFiles files;
    std::vector<std::int64_t> values(size);
    for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<std::int64_t>(i * i) - 1000;
    const auto hash = write_column<std::int64_t>(files, "c", std::span<const std::int64_t>(values));
    ASSERT_TRUE(hash);
    const auto reader = ZarrReader::open(files, "c");
    ASSERT_TRUE(reader) << reader.error().message;
    EXPECT_EQ(*reader->read_column<std::int64_t>(1u << 20), values);
    EXPECT_EQ(*reader->content_hash(), *hash);
    EXPECT_FALSE(reader->read_column<std::uint64_t>(1u << 20));
    if (size > 0) {
      EXPECT_FALSE(reader->read_column<std::int64_t>(size - 1));
    }
  }
}

TEST(MemoryFiles, RenamesFoldersWithWhatTheyHold) {
  MemoryFiles files;
  ASSERT_TRUE(files.make_directories("a/b"));
  ASSERT_TRUE((*files.create("a/b/x"))->append(as_bytes("1")));
  EXPECT_FALSE(files.create("nowhere/x"));
  ASSERT_TRUE(files.rename("a", "z"));
  EXPECT_FALSE(files.status("a/b/x")->exists);
  EXPECT_EQ(*read_file(files, "z/b/x", 10), "1");
  EXPECT_EQ(*files.list("z"), std::vector<std::string>{"b"});
  ASSERT_TRUE(files.make_directories("full/y"));
  EXPECT_FALSE(files.rename("z", "full"));
  ASSERT_TRUE(files.remove_all("z"));
  EXPECT_TRUE(files.contents("z").empty());
}

}  // namespace
}  // namespace moesaic::io
