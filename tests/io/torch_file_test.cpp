#include "io/torch_file.hpp"

#include "io/memory_file.hpp"
#include "support/damage.hpp"
#include "support/shared_data.hpp"

namespace moesaic::io {
namespace {

using moesaic::testing::read_bytes;
using moesaic::testing::shared_data;
using moesaic::testing::test_data;

Result<TorchFile> read(std::string_view bytes) {
  return TorchFile::read(MemoryFile(as_bytes(bytes)), "x.pt");
}

std::string fixture(const std::string& name) { return read_bytes(test_data("io/" + name + ".pt")); }

std::vector<std::int64_t> numbers(const TorchFile& file, std::string_view key) {
  return *to_int64(*file.materialise(*file.root().find(key)->as_tensor()), "x");
}

void expect_pickle_error(const std::string& pickle, const std::string& part) {
  const auto parsed = Pickle::parse(as_bytes(pickle), "x.pkl");
  ASSERT_FALSE(parsed) << part;
  EXPECT_EQ(parsed.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(parsed.error().message.find("x.pkl: byte "), std::string::npos) << parsed.error().message;
  EXPECT_NE(parsed.error().message.find(part), std::string::npos) << parsed.error().message;
}

void expect_error(const std::string& bytes, const std::string& part) {
  const auto file = read(bytes);
  ASSERT_FALSE(file) << part;
  EXPECT_NE(file.error().message.find("x.pt"), std::string::npos);
  EXPECT_NE(file.error().message.find(part), std::string::npos) << file.error().message;
}

TEST(TorchFile, ReadsPlainValuesOfEveryProtocol) {
  for (const char* name : {"tree-2", "tree-3", "tree-4", "tree-5"}) {
    const auto file = read(fixture(name));
    ASSERT_TRUE(file) << name << ": " << file.error().message;
    const PickleValue root = file->root();
    EXPECT_EQ(root.find("rank")->as_int(), 0);
    EXPECT_TRUE(root.find("none")->is_none());
    EXPECT_EQ(root.find("yes")->as_bool(), true);
    EXPECT_EQ(root.find("no")->as_bool(), false);
    EXPECT_FALSE(root.find("no")->as_int());
    EXPECT_EQ(root.find("pi")->as_double(), 3.25);
    EXPECT_EQ(root.find("negative")->as_int(), -5);
    EXPECT_EQ(root.find("big")->as_int(), std::int64_t{1} << 40);
    EXPECT_EQ(root.find("list")->at(1).at(0).as_int(), 2);
    EXPECT_EQ(root.find("list")->at(2).size(), 0u);
    EXPECT_EQ(root.find("tuple")->size(), 4u);
    EXPECT_EQ(root.find("list")->description(), "list of 3");
    EXPECT_FALSE(root.find("missing"));
    EXPECT_FALSE(root.find("rank")->find("x"));
    EXPECT_EQ(*root.entry(0).first.as_string(), "rank");
    EXPECT_EQ(*root.find("text")->as_string(), "zwölf");
    if (std::string_view(name) == "tree-3") {
      EXPECT_EQ(*root.find("bytes")->as_bytes(), std::string("\0\xff", 2));
    }
  }
}

TEST(TorchFile, TensorsComeInCOrderHoweverTheyWereStridedAndSaved) {
  const auto file = read(fixture("tree-2"));
  ASSERT_TRUE(file);
  const auto counts = numbers(*file, "counts");
  for (std::size_t i = 0; i < 24; ++i) EXPECT_EQ(counts[i], static_cast<std::int64_t>(i));
  EXPECT_EQ(numbers(*file, "view"),
            (std::vector<std::int64_t>{12, 16, 20, 13, 17, 21, 14, 18, 22, 15, 19, 23}));
  EXPECT_EQ(numbers(*file, "expanded"), (std::vector<std::int64_t>{1, 2, 1, 2, 1, 2, 1, 2, 1, 2}));
  EXPECT_EQ(numbers(*file, "scalar"), std::vector<std::int64_t>{9});
  EXPECT_EQ(to_double(*file->materialise(*file->root().find("half")->as_tensor()), "")->at(1), 1.5);
}

TEST(TorchFile, ReadsTheDumpsOfSglang) {
  MOESAIC_NEEDS_SHARED("formats/sglang-stat.pt");
  std::vector<std::int64_t> first;
  for (const char* name : {"formats/sglang-stat.pt", "formats/sglang-stat-strided.pt"}) {
    const auto file = TorchFile::read(real_files(), shared_data(name));
    ASSERT_TRUE(file) << file.error().message;
    const auto values = numbers(*file, "logical_count");
    std::int64_t sum = 0;
    for (const std::int64_t value : values) sum += value;
    EXPECT_EQ(sum, 1'355'805);
    if (first.empty()) first = values;
    EXPECT_EQ(values, first);
  }
}

TEST(TorchFile, ForbiddenGlobalsAreNamed) {
  expect_error(fixture("system"), "os.system");
  expect_error(fixture("eval"), "builtins.eval");
  expect_error(fixture("codecs"), "_codecs.encode");
  expect_pickle_error("cnumpy.core.multiarray\n_reconstruct\n.", "numpy.core.multiarray._reconstruct");
  expect_pickle_error("\x80\x02(ios\nsystem\n.", "opcode 0x69");
  expect_pickle_error("\x80\x02}}\x81.", "opcode 0x81");
}

TEST(TorchFile, HostileFilesAreErrors) {
  expect_error(fixture("nested"), "nested deeper than 64");
  expect_error(fixture("beyond-storage"), "beyond the 4 elements");
  expect_error(fixture("overflowing-view"), "beyond the 4 elements");
  expect_error(fixture("lying-storage"), "storage data/0 has 4 elements, expected 1152921504606846976");
  expect_error(fixture("missing-storage"), "has 0 elements");
  expect_error(fixture("big"), "byte order \"big\"");
  EXPECT_TRUE(read(fixture("little")));
  expect_error(read_bytes(test_data("io/two.npz")), "without data.pkl");
  expect_error("", "no file of torch.save");
  EXPECT_FALSE(TorchFile::read(real_files(), test_data("io/none.pt")));
}

TEST(TorchFile, AnExpandedTensorCannotTakeMoreThanTheFileCouldHold) {
  const auto file = read(fixture("expanded-bomb"));
  ASSERT_TRUE(file) << file.error().message;
  const auto array = file->materialise(*file->root().as_tensor());
  ASSERT_FALSE(array);
  EXPECT_NE(array.error().message.find("1152921504606846976"), std::string::npos);
}

TEST(TorchFile, SharedAndCyclicValuesAreSmallGraphs) {
  const auto cycle = read(fixture("cycle"));
  ASSERT_TRUE(cycle) << cycle.error().message;
  EXPECT_EQ(cycle->root().at(0).at(0).at(0).size(), 1u);
  const auto laughs = read(fixture("laughs"));
  ASSERT_TRUE(laughs) << laughs.error().message;
  EXPECT_EQ(laughs->root().size(), 61u);
  const auto lists = read(fixture("lists"));
  ASSERT_TRUE(lists) << lists.error().message;
}

TEST(TorchFile, EveryCutFileIsAnErrorAndNoFlippedBitCrashes) {
  const std::string good = fixture("tree-4");
  moesaic::testing::for_each_truncation(
      good, [&](std::string_view cut, std::size_t n) { EXPECT_FALSE(read(cut)) << n; });
  moesaic::testing::for_each_bit_flip(good, [&](std::string_view bad, std::size_t) {
    const auto file = read(bad);
    if (!file) {
      EXPECT_FALSE(file.error().message.empty());
    }
  });
}

std::string pickle_of(const std::string& name) {
  // The members are stored, not deflated: the pickle lies between the first local header and the next.
  const std::string zip = fixture(name);
  const std::size_t begin = zip.find("data.pkl") + 8;
  return zip.substr(begin, zip.find("PK\x03\x04", begin) - begin);
}

TEST(Pickle, EveryCutPickleIsAnErrorAndNoFlippedBitCrashes) {
  for (const char* name : {"tree-2", "tree-3", "tree-4", "tree-5"}) {
    const std::string good = pickle_of(name);
    ASSERT_TRUE(Pickle::parse(as_bytes(good), "x")) << name;
    moesaic::testing::for_each_truncation(good, [&](std::string_view cut, std::size_t n) {
      EXPECT_FALSE(Pickle::parse(as_bytes(cut), "x")) << n;
    });
    moesaic::testing::for_each_bit_flip(good, [&](std::string_view bad, std::size_t) {
      const auto pickle = Pickle::parse(as_bytes(bad), "x");
      if (!pickle) {
        EXPECT_FALSE(pickle.error().message.empty());
      }
    });
  }
}

TEST(Pickle, SaysWhatIsWrongAndAtWhichByte) {
  using namespace std::string_literals;
  expect_pickle_error("", "cut short");
  expect_pickle_error("\x80\x06N.", "protocol 6");
  expect_pickle_error("\x95\xff\xff\xff\xff\xff\xff\xff\x0fN.", "a frame");
  expect_pickle_error("\x8d\0\0\0\0\0\0\0\x10N."s, "1152921504606846976 bytes are announced");
  expect_pickle_error(
      "\x8a\x09"
      "123456789.",
      "of 9 bytes");
  expect_pickle_error("I12\n.", "opcode 0x49");
  expect_pickle_error("cos", "without its end");
  expect_pickle_error(".", "unfinished");
  expect_pickle_error("(N.", "unfinished");
  expect_pickle_error("N.N", "1 bytes follow");
  expect_pickle_error("h\x07.", "memo 7");
  expect_pickle_error("q\x07.", "nothing on the stack");
  expect_pickle_error("0.", "nothing on the stack to take");
  expect_pickle_error("Nt.", "no mark");
  expect_pickle_error("N\x86.", "too few values");
  expect_pickle_error("N(N\x86.", "too few values");
  expect_pickle_error("NNa.", "no list");
  expect_pickle_error("NNNs.", "no dict");
  expect_pickle_error("}(Nu.", "key without a value");
  expect_pickle_error("NNb.", "no dict");
  expect_pickle_error("NQ.", "no torch storage");
  expect_pickle_error("N)R.", "no function");
  expect_pickle_error("NN\x93.", "no text");
  expect_pickle_error("ccollections\nOrderedDict\n.", "bare global");
  expect_pickle_error("ccollections\nOrderedDict\nN\x85R.", "no list of pairs");
  expect_pickle_error("ctorch\nIntStorage\n)R.", "a call of torch.IntStorage");
  expect_pickle_error("ctorch._utils\n_rebuild_tensor_v2\n)R.", "fewer than 4 parts");
  expect_pickle_error("ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR.", "without a storage");
}

TEST(Pickle, OrderedDictsAreDicts) {
  const std::string text = "ccollections\nOrderedDict\n(]](U\1aK\1eatR}b.";
  const auto pickle = Pickle::parse(as_bytes(text), "x");
  ASSERT_TRUE(pickle) << pickle.error().message;
  EXPECT_EQ(pickle->root().find("a")->as_int(), 1);
}

}  // namespace
}  // namespace moesaic::io
