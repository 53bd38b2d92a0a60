// The JSON Schemas in docs/schemas say of the kept fixtures what the readers say: the same keys, required
// and allowed, at every level.
#include "io/json.hpp"
#include "support/paths.hpp"

namespace moesaic::artifact {
namespace {

Json read(const std::string& path) {
  const auto json = io::read_json(io::real_files(), moesaic::testing::source_path(path));
  EXPECT_TRUE(json) << json.error().message;
  return json ? *json : Json();
}

/// Objects of the document hold the properties of closed objects of the schema, all the way down: no others,
/// and all that are required.
void expect_keys(const Json& schema, const Json& value, const std::string& path) {
  if (const Json* options = schema.find("anyOf")) {
    for (const Json& option : *options->as_array()) {
      const std::string& type = *option.find("type")->as_string();
      if ((type == "null") == value.is_null()) expect_keys(option, value, path);
    }
    return;
  }
  const Json* properties = schema.find("properties");
  if (properties == nullptr) return;
  ASSERT_TRUE(value.is_object()) << path;
  for (const auto& [key, item] : *value.as_object()) {
    const Json* property = properties->find(key);
    ASSERT_NE(property, nullptr) << path << "." << key << " is not in the schema";
    expect_keys(*property, item, path + "." + key);
  }
  for (const Json& key : *schema.find("required")->as_array()) {
    const std::string& name = *key.as_string();
    EXPECT_NE(value.find(name), nullptr) << path << "." << name << " is required, not in the fixture";
  }
}

TEST(Schema, HoldsTheKeysOfTheKeptFixtures) {
  for (const char* what : {"plan", "router"}) {
    const std::string name = what;
    expect_keys(read("docs/schemas/" + name + ".schema.json"),
                read("tests/data/artifact/" + name + "-v1.json"), name);
  }
}

}  // namespace
}  // namespace moesaic::artifact
