// The importers, each in the .cpp file of its name. registry.cpp lists them.
#pragma once

#include "ingest/importer.hpp"

namespace moesaic::ingest {

extern const Importer kMoeTrace;            // moe-trace
extern const Importer kSglangGenerate;      // sglang-generate
extern const Importer kVllmCompletion;      // vllm-completion
extern const Importer kSglangLogicalCount;  // sglang-logical-count
extern const Importer kVllmEplb;            // vllm-eplb
extern const Importer kEldrCapture;         // eldr-capture
extern const Importer kEldrCalibration;     // eldr-calibration
extern const Importer kSglangStat;          // sglang-stat
extern const Importer kSglangPerPass;       // sglang-per-pass
extern const Importer kSglangPerToken;      // sglang-per-token
extern const Importer kTrtllmStatistics;    // trtllm-statistics
extern const Importer kArrayFolder;         // array-folder
extern const Importer kCsvCounts;           // csv-counts
extern const Importer kNumpy;               // numpy

}  // namespace moesaic::ingest
