// The golden cases of data/golden/eplb: inputs and outputs of DeepSeek's reference.
#pragma once

#include "io/json.hpp"
#include "io/npz.hpp"
#include "placement/eplb.hpp"
#include "support/shared_data.hpp"

namespace moesaic::placement::testing {

struct EplbGolden {
  std::string name;
  eplb::Shape shape;
  std::vector<float> weight;
  std::vector<std::int64_t> phy2log, log2phy, logcnt;
};

inline Result<std::vector<EplbGolden>> read_eplb_goldens() {
  const std::string folder = moesaic::testing::shared_data("golden/eplb");
  MOESAIC_ASSIGN(const Json cases, io::read_json(io::real_files(), folder + "/cases.json"));
  if (cases.as_array() == nullptr) return bad_input(folder + "/cases.json: expected an array");
  std::vector<EplbGolden> goldens;
  for (const Json& one : *cases.as_array()) {
    EplbGolden golden;
    golden.name = *one.find("name")->as_string();
    const auto size = [&](std::string_view key) {
      std::uint64_t value = 0;
      one.find(key)->to_uint(value);
      return static_cast<std::size_t>(value);
    };
    golden.shape = {.layers = size("layers"),
                    .experts = size("experts"),
                    .replicas = size("num_replicas"),
                    .groups = size("num_groups"),
                    .nodes = size("num_nodes"),
                    .gpus = size("num_gpus")};
    const std::string path = folder + "/" + golden.name + ".npz";
    MOESAIC_ASSIGN(const io::Npz npz, io::read_npz(io::real_files(), path));
    for (const char* member : {"weight", "phy2log", "log2phy", "logcnt"}) {
      if (npz.find(member) == nullptr) return bad_input(path + ": no member " + member);
    }
    MOESAIC_ASSIGN(const std::vector<double> weight, io::to_double(*npz.find("weight"), path));
    golden.weight.assign(weight.begin(), weight.end());
    MOESAIC_ASSIGN(golden.phy2log, io::to_int64(*npz.find("phy2log"), path));
    MOESAIC_ASSIGN(golden.log2phy, io::to_int64(*npz.find("log2phy"), path));
    MOESAIC_ASSIGN(golden.logcnt, io::to_int64(*npz.find("logcnt"), path));
    goldens.push_back(std::move(golden));
  }
  return goldens;
}

/// "" when the mapping is the golden one element by element, else what differs first.
inline std::string difference(const EplbGolden& golden, const eplb::Mapping& mapping) {
  const auto compare = [&](const char* what, const std::vector<std::int64_t>& expected,
                           const std::vector<std::int32_t>& found) -> std::string {
    if (expected.size() != found.size()) return golden.name + ": size of " + what;
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (expected[i] != found[i]) return golden.name + ": " + what + " at " + std::to_string(i);
    }
    return "";
  };
  std::string text = compare("phy2log", golden.phy2log, mapping.phy2log);
  if (text.empty()) text = compare("logcnt", golden.logcnt, mapping.logcnt);
  if (text.empty()) text = compare("log2phy", golden.log2phy, mapping.log2phy);
  return text;
}

}  // namespace moesaic::placement::testing
