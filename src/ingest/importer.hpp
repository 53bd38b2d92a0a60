// Importing foreign traces. One importer a format behind one interface (docs/formats.md, "Adding a
// format"): a row of the table in registry.cpp with a name, what it recognises and what it does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/comm.hpp"
#include "core/engine_map.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "ingest/documents.hpp"
#include "ingest/output.hpp"
#include "io/files.hpp"
#include "trace/trace.hpp"
#include "trace/writer.hpp"

namespace moesaic {
class ThreadPool;
}

namespace moesaic::ingest {

struct Progress {
  std::uint64_t documents = 0, bytes = 0, tokens = 0;
};

/// How many documents an importer takes at once. The dense layers of some formats are found by the first
/// batch, so that other limits may make another store.
struct BatchLimits {
  std::uint64_t bytes = 32ull << 20;
  std::size_t documents = 256;
};

struct ImportOptions {
  std::string output{};  ///< path of the store
  std::string format{};  ///< name of an importer; "" = recognise it
  /// What --model (or --shape) says. An importer refuses what contradicts it. `layers` may be empty when
  /// only their number is known: then model_layers is the number of planes, and 0 of anything = unknown.
  std::optional<ModelShape> shape{};
  /// A preset whose name stands in a document's path, or nothing. A guess: where the data contradict it,
  /// it is dropped.
  std::function<std::optional<ModelShape>(std::string_view path)> shape_by_path{};
  std::string domain{};         ///< label of every request; "" = as the format says, else the folder's name
  std::string domain_key{};     ///< key of an index that holds the label, for formats with several
  std::string axes{};           ///< of a 3-D array: "tlk", "wle", "rle", ...; "" = as recognised
  bool force = false;           ///< replace an existing store
  trace::StoreLayout layout{};  ///< of token stores; tests use small shards
  BatchLimits batch{};          ///< tests use small ones
  ThreadPool* pool = nullptr;   ///< parses and compresses; nullptr = on the caller
  /// The ranks that import together: all call import_trace with the same arguments.
  comm::Comm* comm = &comm::one_rank();
  std::function<void(const Progress&)> progress{};  ///< called now and then on the caller's thread
};

/// What an importer works with. Documents whose name it does not take are already left out.
struct ImportContext {
  const ImportOptions& options;
  Documents& documents;
  Output& output;
};

struct Importer {
  std::string_view name;  ///< for --format and in the store, e.g. "sglang-per-token"
  std::string_view what;  ///< one line for people: the format and the engine version it was read against
  /// By its name a file that may be of this format (or belong to it, as an index does). Others found in
  /// a folder or archive are left out with an anomaly; one that is taken must be good.
  bool (*takes)(std::string_view name);
  /// By its name and first bytes (kHeadBytes, or all of a smaller document): surely this format. Must
  /// not claim another's document; never an error.
  bool (*detect)(std::string_view name, std::string_view head);
  /// Reads all documents and writes them: output.open_tokens, add_*, finish_tokens; or output.counts.
  /// Errors name the document's path, byte or key. No exception leaves it.
  Status (*run)(ImportContext& context);
  /// Whether ranks share the documents: run() is then called by all, and fails on all alike. Otherwise the
  /// root alone runs it.
  bool shared = false;
};

inline constexpr std::size_t kHeadBytes = 65'536;

/// All importers, in the order in which they are asked.
std::span<const Importer* const> importers();
/// By name, or nullptr.
const Importer* find_importer(std::string_view name);

struct ImportSummary {
  std::string format;
  bool shared = false;  ///< the ranks shared the work
  trace::Kind kind = trace::Kind::kTokens;
  ModelShape shape;
  std::uint64_t documents = 0, requests = 0, tokens = 0, count_rows = 0;
  std::vector<std::string> domains;  ///< in order of appearance
  std::vector<trace::Anomaly> anomalies;
  std::optional<EngineMap> engine_map;  ///< of a dump with physical ids: the last map in it
};

/// Reads `sources` and writes the store options.output: whole or not at all; an interrupted import
/// resumes when it is called again with the same sources and options. The bytes written do not depend
/// on the number of threads or ranks. Several ranks (options.comm): collective; fails on all alike, and the
/// root alone gets the whole summary. Errors (bad input): sources missing, in no known format (the message
/// lists the formats), damaged, contradicting each other or options.shape, an output that exists. Memory:
/// about 128 MB + 3 x the largest document.
Result<ImportSummary> import_trace(io::FileSystem& files, std::span<const std::string> sources,
                                   const ImportOptions& options);

}  // namespace moesaic::ingest
