// The parts that SGLang's per-pass and per-token dumps share (sglang srt/eplb/expert_distribution.py):
// records, and the map from physical slots to logical experts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/engine_map.hpp"
#include "core/ids.hpp"
#include "core/result.hpp"
#include "ingest/documents.hpp"
#include "ingest/output.hpp"
#include "io/torch_file.hpp"

namespace moesaic::ingest {

/// last_physical_to_logical_map.
struct PhysicalMap {
  std::size_t layers = 0, slots = 0, experts = 0;
  std::vector<std::uint16_t> logical;  ///< [layers, slots]
  bool operator==(const PhysicalMap&) const = default;

  /// Logical id of a slot; REQUIRES: inside.
  std::uint16_t at(std::size_t layer, std::size_t slot) const { return logical[layer * slots + slot]; }
};

struct SglangDump {
  io::TorchFile file;
  PhysicalMap map;
  std::vector<io::PickleValue> records;  ///< dicts; live as long as `file`
};

/// Opens a loaded document and lets go of its bytes. `experts`: E where known, else 0 (largest id + 1).
/// Errors name the document and the key.
Result<SglangDump> open_sglang_dump(Document& document, std::size_t experts);

/// A dict's value that must be there, by key. `where` names file and record.
Result<io::PickleValue> need(const io::PickleValue& dict, std::string_view key, const std::string& where);
Result<std::int64_t> need_int(const io::PickleValue& dict, std::string_view key, const std::string& where);
/// A tensor of integers of that many dimensions.
Result<io::Array> need_tensor(const io::TorchFile& file, const io::PickleValue& dict, std::string_view key,
                              std::size_t dimensions, const std::string& where);

/// All dumps of one import must have the same map: counts and ids of several ranks are put together by it.
Status check_same_map(const PhysicalMap& first, const PhysicalMap& now, const std::string& where);

/// Notes the map as the engine's, and says what must be said of every such dump: only its last map is kept.
void report_last_map(const PhysicalMap& map, Output& output);

bool takes_torch_file(std::string_view name);

}  // namespace moesaic::ingest
