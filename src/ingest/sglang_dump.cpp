#include "ingest/sglang_dump.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"
#include "io/memory_file.hpp"

namespace moesaic::ingest {
namespace {

Result<PhysicalMap> read_map(const io::TorchFile& file, std::size_t experts, const std::string& where) {
  constexpr std::string_view kKey = "last_physical_to_logical_map";
  MOESAIC_ASSIGN(const io::Array array, need_tensor(file, file.root(), kKey, 2, where));
  const std::string place = fmt::format("{}: {}", where, kKey);
  if (array.shape[0] == 0 || array.shape[0] > limits::kMaxLayers || array.shape[1] == 0 ||
      array.shape[1] > limits::kMaxSlots) {
    return bad_input(fmt::format("{}: shape {}, expected [layers, slots]", place, array.shape_text()));
  }
  MOESAIC_ASSIGN(const std::vector<std::int64_t> ids, io::to_int64(array, place));
  PhysicalMap map{.layers = static_cast<std::size_t>(array.shape[0]),
                  .slots = static_cast<std::size_t>(array.shape[1]),
                  .experts = experts,
                  .logical = {}};
  const auto bound = static_cast<std::int64_t>(experts != 0 ? experts : limits::kMaxExperts);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= bound) {
      return bad_input(
          fmt::format("{}: layer {}, slot {} holds expert {}, expected 0 to {}; give the model that made "
                      "this dump",
                      place, i / map.slots, i % map.slots, ids[i], bound - 1));
    }
    map.logical.push_back(static_cast<std::uint16_t>(ids[i]));
  }
  // Every logical expert has a slot in every layer, so the largest id tells their number.
  if (experts == 0) map.experts = *std::ranges::max_element(map.logical) + std::size_t{1};
  return map;
}

}  // namespace

Result<io::PickleValue> need(const io::PickleValue& dict, std::string_view key, const std::string& where) {
  if (const auto value = dict.find(key)) return *value;
  return bad_input(fmt::format("{}: {} without the key \"{}\"", where, dict.description(), key));
}

Result<std::int64_t> need_int(const io::PickleValue& dict, std::string_view key, const std::string& where) {
  MOESAIC_ASSIGN(const io::PickleValue value, need(dict, key, where));
  if (const auto number = value.as_int()) return *number;
  return bad_input(fmt::format("{}: {} is a {}, expected an int", where, key, value.description()));
}

Result<io::Array> need_tensor(const io::TorchFile& file, const io::PickleValue& dict, std::string_view key,
                              std::size_t dimensions, const std::string& where) {
  MOESAIC_ASSIGN(const io::PickleValue value, need(dict, key, where));
  const io::PickleTensor* tensor = value.as_tensor();
  if (tensor == nullptr || tensor->shape.size() != dimensions || !io::is_integer(tensor->dtype)) {
    return bad_input(fmt::format(
        "{}: {} is a {}, expected a tensor of integers of {} dimensions", where, key,
        tensor == nullptr
            ? value.description()
            : fmt::format("{} tensor of {} dimensions", io::name(tensor->dtype), tensor->shape.size()),
        dimensions));
  }
  return file.materialise(*tensor);
}

Result<SglangDump> open_sglang_dump(Document& document, std::size_t experts) {
  const std::string& where = document.path;
  MOESAIC_ASSIGN(io::TorchFile file,
                 io::TorchFile::read(io::MemoryFile(io::as_bytes(document.bytes)), where));
  document.bytes = std::string();
  document.loaded = false;
  MOESAIC_ASSIGN(PhysicalMap map, read_map(file, experts, where));
  MOESAIC_ASSIGN(const io::PickleValue records, need(file.root(), "records", where));
  if (!records.is_sequence()) {
    return bad_input(fmt::format("{}: records is a {}, expected a list", where, records.description()));
  }
  std::vector<io::PickleValue> list;
  for (std::size_t i = 0; i < records.size(); ++i) {
    list.push_back(records.at(i));
    if (!list.back().is_dict()) {
      return bad_input(
          fmt::format("{}: record {} is a {}, expected a dict", where, i, list.back().description()));
    }
  }
  return SglangDump{std::move(file), std::move(map), std::move(list)};
}

Status check_same_map(const PhysicalMap& first, const PhysicalMap& now, const std::string& where) {
  if (first == now) return {};
  return bad_input(
      fmt::format("{}: another last_physical_to_logical_map than in the file before; import the files of "
                  "the ranks of one dump at a time",
                  where));
}

void report_last_map(const PhysicalMap& map, Output& output) {
  EngineMap engine{.layers = map.layers, .slots = map.slots, .logical = {}};
  for (const std::uint16_t expert : map.logical) engine.logical.push_back(ExpertId(expert));
  output.note_engine_map(std::move(engine));
  output.anomalies().add(
      "assumed",
      "Physical ids became logical by the last map of a dump, which is wrong for what was recorded "
      "before a rebalance.");
}

bool takes_torch_file(std::string_view name) { return name.ends_with(".pt") || name.ends_with(".pth"); }

}  // namespace moesaic::ingest
