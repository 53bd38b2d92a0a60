// Every statistic of profile against numpy's: tests/data/profile/*.json hold what
// scripts/make_profile_fixture.py computed from the raw traces with none of our code. A fixture is a part of
// what --json says.
#include <cmath>

#include "io/files.hpp"
#include "io/json.hpp"
#include "profile/profile.hpp"
#include "support/imported.hpp"
#include "support/paths.hpp"
#include "support/shared_data.hpp"

namespace moesaic::profile {
namespace {

constexpr double kRelative = 1e-9;

struct Compared {
  std::size_t numbers = 0;
  std::vector<std::string> differences;
};

void compare(const Json& expected, const Json& found, const std::string& path, Compared& out) {
  const auto differ = [&] {
    out.differences.push_back(path + ": numpy has " + expected.dump() + ", profile " + found.dump());
  };
  double x = 0, y = 0;
  if (expected.to_double(x)) {
    ++out.numbers;
    // What is 0 for one may be the rounding of a difference for the other.
    if (!found.to_double(y) || std::abs(x - y) > kRelative * std::max(std::abs(x), 1e-3)) differ();
  } else if (const Json::Object* object = expected.as_object()) {
    for (const auto& [key, value] : *object) {
      const Json* member = found.find(key);
      if (const Json::Array* list = found.as_array()) {  // some places of a list
        const std::size_t place = std::stoul(key);
        member = place < list->size() ? &(*list)[place] : nullptr;
      }
      if (member == nullptr) {
        out.differences.push_back(path + ": has no " + key);
      } else {
        compare(value, *member, path + "/" + key, out);
      }
    }
  } else if (const Json::Array* list = expected.as_array()) {
    const Json::Array* other = found.as_array();
    if (other == nullptr || other->size() != list->size()) return differ();
    for (std::size_t i = 0; i < list->size(); ++i)
      compare((*list)[i], (*other)[i], path + "/" + std::to_string(i), out);
  } else if (!(expected == found)) {
    differ();
  }
}

void expect_agreement(const testing::Imported& imported, const std::string& name, std::size_t at_least) {
  ASSERT_TRUE(imported) << imported.error();
  ThreadPool pool(2);
  const auto result = profile_trace(imported.trace(), {}, pool);
  ASSERT_TRUE(result) << result.error().message;
  const std::string file = moesaic::testing::source_path("tests/data/profile/") + name + ".json";
  const auto text = io::read_file(io::real_files(), file, 1 << 24);
  ASSERT_TRUE(text) << text.error().message;
  const auto expected = io::parse_json(*text, file);
  ASSERT_TRUE(expected) << expected.error().message;
  Compared compared;
  compare(*expected, to_json(*result), name, compared);
  EXPECT_GE(compared.numbers, at_least);
  for (std::size_t i = 0; i < std::min<std::size_t>(20, compared.differences.size()); ++i)
    ADD_FAILURE() << compared.differences[i];
  EXPECT_TRUE(compared.differences.empty()) << compared.differences.size() << " differences";
}

TEST(ProfileNumpy, AgreesOnATraceWithPrefillAndDecode) {
  expect_agreement(testing::Imported({moesaic::testing::source_path("samples/moesaic-mini")}), "moesaic-mini",
                   700);
}

TEST(ProfileNumpy, AgreesOnADecodeOnlyTrace) {
  MOESAIC_NEEDS_SHARED("traces/gpt-oss-20b-decode");
  expect_agreement(testing::Imported({testing::shared_data("traces/gpt-oss-20b-decode")},
                                     testing::with_domain_key("topic")),
                   "gpt-oss-20b", 1000);
}

TEST(ProfileNumpy, AgreesOnCounts) {
  MOESAIC_NEEDS_SHARED("traces/glm-5.2-prefill-counts");
  ModelShape shape{.model = "glm-5.2", .model_layers = 78, .layers = {}, .experts = 256, .top_k = 8};
  for (std::uint16_t l = 3; l < 78; ++l) shape.layers.push_back(LayerId(l));
  expect_agreement(testing::Imported({testing::shared_data("traces/glm-5.2-prefill-counts/shard_counts.npz")},
                                     testing::with_shape(shape)),
                   "glm-5.2", 500);
}

}  // namespace
}  // namespace moesaic::profile
