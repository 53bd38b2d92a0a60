#include "io/archive.hpp"

#include <fmt/format.h>

#include "io/byte_stream.hpp"
#include "io/memory_file.hpp"
#include "support/damage.hpp"
#include "support/shared_data.hpp"
#include "support/temporary_folder.hpp"

namespace moesaic::io {
namespace {

using moesaic::testing::read_bytes;
using moesaic::testing::shared_data;
using moesaic::testing::TemporaryFolder;
using moesaic::testing::test_data;

using Entries = std::vector<std::pair<std::string, std::string>>;

Result<Entries> unpack(std::string_view bytes, const UnpackLimits& limits = {}) {
  const MemoryFile file(as_bytes(bytes));
  MOESAIC_ASSIGN(auto reader, ArchiveReader::open(file, "x.tar", limits));
  Entries out;
  for (;;) {
    MOESAIC_ASSIGN(auto entry, reader.next());
    if (!entry) return out;
    out.emplace_back(entry->name, entry->bytes);
  }
}

void expect_error(const Result<Entries>& entries, const std::string& part) {
  ASSERT_FALSE(entries) << part;
  EXPECT_EQ(entries.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(entries.error().message.find("x.tar"), std::string::npos);
  EXPECT_NE(entries.error().message.find(part), std::string::npos) << entries.error().message;
}

const Entries kThree = {{"run/0.json", "{\"1\": null}"},
                        {"run/sub/1.json",
                         [] {
                           std::string text;
                           for (int i = 0; i < 40; ++i) text += "[]";
                           return text;
                         }()},
                        {"top.txt", "x"}};

TEST(Archive, GivesTheFilesOfEveryKindInOrder) {
  for (const char* name : {"three.tar", "three.tar.gz", "three.tar.xz", "three.tar.zst", "three.zip"}) {
    const auto entries = unpack(read_bytes(test_data(std::string("io/") + name)));
    ASSERT_TRUE(entries) << entries.error().message;
    EXPECT_EQ(*entries, kThree) << name;
    EXPECT_TRUE(is_archive_name(name));
  }
  EXPECT_FALSE(is_archive_name("a.json.xz"));
}

TEST(Archive, NamesCanBeListedWithoutUnpacking) {
  auto reader = ArchiveReader::open(real_files(), test_data("io/three.tar.xz"));
  ASSERT_TRUE(reader);
  for (const auto& [name, bytes] : kThree) EXPECT_EQ(**reader->next_name(), name);
  EXPECT_FALSE(reader->next_name()->has_value());
}

TEST(Archive, ReadsTheLlamaTraces) {
  MOESAIC_NEEDS_SHARED("traces/llama4-maverick-mmlu/anatomy.tar.xz");
  auto reader = ArchiveReader::open(real_files(), shared_data("traces/llama4-maverick-mmlu/anatomy.tar.xz"));
  std::size_t n = 0;
  for (;;) {
    const auto entry = reader->next();
    ASSERT_TRUE(entry) << entry.error().message;
    if (!*entry) break;
    EXPECT_EQ((*entry)->bytes.front(), '[');
    ++n;
  }
  EXPECT_EQ(n, 135u);
}

TEST(Archive, RefusesNamesThatLeaveItAndWhatIsNoFile) {
  const auto fixture = [](const char* name) {
    return unpack(read_bytes(test_data(std::string("io/") + name)));
  };
  expect_error(fixture("absolute.tar.gz"), "absolute name");
  expect_error(fixture("climbing.tar.gz"), "\"..\"");
  expect_error(fixture("climbing.zip"), "\"..\"");
  expect_error(fixture("backslash.tar.gz"), "backslash");
  expect_error(fixture("link.tar.gz"), "link or device");
  expect_error(fixture("twice-packed.tar.gz"), "compressed 2 times");
  expect_error(fixture("huge-claim.tar.gz"), "more than 4294967296 bytes");
  expect_error(fixture("fox.txt.gz"), "cannot unpack");
  expect_error(unpack(""), "empty");
  expect_error(unpack("[]"), "cannot unpack");
}

TEST(Archive, StopsAtEveryBound) {
  const std::string three = read_bytes(test_data("io/three.tar.xz"));
  expect_error(unpack(three, {.max_entries = 2}), "more than 2 entries");
  expect_error(unpack(three, {.max_entry_bytes = 40}), "run/sub/1.json\" has more than 40 bytes");
  expect_error(unpack(three, {.max_ratio = 0, .slack_bytes = 50}), "unpacks to more than 50 bytes");
  EXPECT_TRUE(unpack(three, {.max_ratio = 0, .slack_bytes = 92}));
  EXPECT_TRUE(unpack(three, {.max_ratio = ~std::uint64_t{0}}));
}

TEST(Archive, ABombIsStoppedByTheDefaultBounds) {
  expect_error(unpack(read_bytes(test_data("io/bomb.tar.zst"))), "archive bomb");
  const auto stream =
      read_maybe_compressed(real_files(), test_data("io/bomb.bin.zst"), std::uint64_t{1} << 32);
  ASSERT_FALSE(stream);
  EXPECT_NE(stream.error().message.find("archive bomb"), std::string::npos);
}

TEST(Archive, EveryCutArchiveIsAnErrorUnlessAllEntriesAreThere) {
  for (const char* name : {"three.tar", "three.tar.gz", "three.tar.xz", "three.tar.zst", "three.zip"}) {
    const std::string good = read_bytes(test_data(std::string("io/") + name));
    moesaic::testing::for_each_truncation(good, [&](std::string_view cut, std::size_t n) {
      const auto entries = unpack(cut);
      if (entries) {
        EXPECT_EQ(*entries, kThree) << name << " at " << n;
      }
    });
    moesaic::testing::for_each_bit_flip(good, [&](std::string_view bad, std::size_t) {
      const auto entries = unpack(bad);
      if (!entries) {
        EXPECT_FALSE(entries.error().message.empty());
      }
    });
  }
}

/// Fails as a broken disk does, after the first bytes.
class BrokenFile final : public ReadFile {
 public:
  explicit BrokenFile(std::string bytes) : bytes_(std::move(bytes)), file_(as_bytes(bytes_)) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset > 0) return environment_error("disk: cannot read: Input/output error");
    return file_.read_at(offset, out.first(std::min<std::size_t>(out.size(), 100)));
  }

 private:
  std::string bytes_;
  MemoryFile file_;
};

TEST(Archive, AnErrorOfTheDiskStaysAnErrorOfTheDisk) {
  const BrokenFile file(read_bytes(test_data("io/three.tar.gz")));
  auto reader = ArchiveReader::open(file, "x.tar");
  const auto entry = reader ? reader->next() : tl::unexpected(reader.error());
  ASSERT_FALSE(entry);
  EXPECT_EQ(entry.error().kind, ErrorKind::kEnvironment);
}

TEST(ByteStream, UnpacksSingleFilesByTheirNames) {
  const std::string text = read_bytes(test_data("io/fox.txt"));
  for (const char* ending : {"", ".gz", ".xz", ".zst"}) {
    const std::string path = test_data("io/fox.txt") + ending;
    EXPECT_EQ(*read_maybe_compressed(real_files(), path, 1000), text);
    EXPECT_EQ(without_compression(path), test_data("io/fox.txt"));
    const auto stream = open_stream(real_files(), path);
    ASSERT_TRUE(stream) << stream.error().message;
    std::byte some[7];
    EXPECT_EQ(*(*stream)->read(some), 7u);
    EXPECT_EQ(*read_all(**stream, path, 1000), text.substr(7));
    EXPECT_EQ(*(*stream)->read(some), 0u);
    EXPECT_FALSE(read_maybe_compressed(real_files(), path, 999));
  }
}

TEST(ByteStream, ACompressedNameOnAnotherContentIsAnError) {
  const TemporaryFolder folder;
  for (const std::string content : {"", "plain text, not compressed at all"}) {
    ASSERT_TRUE(write_file_atomically(real_files(), folder / "a.xz", content, true));
    const auto text = read_maybe_compressed(real_files(), folder / "a.xz", 1000);
    ASSERT_FALSE(text);
    EXPECT_NE(text.error().message.find("a.xz"), std::string::npos);
  }
}

TEST(ByteStream, EveryCutFileIsAnErrorUnlessAllBytesAreThere) {
  const TemporaryFolder folder;
  const std::string text = read_bytes(test_data("io/fox.txt"));
  for (const char* ending : {".gz", ".xz", ".zst"}) {
    const std::string path = folder / (std::string("a") + ending);
    const std::string good = read_bytes(test_data("io/fox.txt") + ending);
    moesaic::testing::for_each_truncation(good, [&](std::string_view cut, std::size_t n) {
      const auto file = real_files().create(path);
      ASSERT_TRUE(file && (*file)->append(as_bytes(cut)));
      const auto got = read_maybe_compressed(real_files(), path, 1000);
      if (got) {
        EXPECT_EQ(*got, text) << ending << " at " << n;
      }
    });
  }
}

}  // namespace
}  // namespace moesaic::io
