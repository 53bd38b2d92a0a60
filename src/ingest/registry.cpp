#include <algorithm>
#include <array>

#include "ingest/formats.hpp"
#include "ingest/importer.hpp"

namespace moesaic::ingest {

std::span<const Importer* const> importers() {
  // Asked in this order: the narrow ones first.
  static constexpr std::array kTable = {
      &kMoeTrace,      &kSglangGenerate, &kVllmCompletion,   &kSglangLogicalCount,
      &kVllmEplb,      &kEldrCapture,    &kEldrCalibration,  &kSglangStat,
      &kSglangPerPass, &kSglangPerToken, &kTrtllmStatistics, &kArrayFolder,
      &kCsvCounts,     &kNumpy,
  };
  return kTable;
}

const Importer* find_importer(std::string_view name) {
  const auto all = importers();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Importer* i) { return i->name == name; });
  return found == all.end() ? nullptr : *found;
}

}  // namespace moesaic::ingest
