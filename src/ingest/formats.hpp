// The importers, each in the .cpp file of its name. registry.cpp lists them.
#pragma once

#include "ingest/importer.hpp"

namespace moesaic::ingest {

extern const Importer kMoeTrace;  ///< moe-trace

}  // namespace moesaic::ingest
