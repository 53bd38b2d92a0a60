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

}  // namespace moesaic::ingest
