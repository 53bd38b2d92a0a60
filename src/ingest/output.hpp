// Where importers put what they read: the store being written, and the list of what was not plain good
// input. It knows the shape rules that all formats share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine_map.hpp"
#include "core/ids.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "io/files.hpp"
#include "trace/trace.hpp"
#include "trace/writer.hpp"

namespace moesaic::ingest {

struct ImportOptions;
struct ImportSummary;

/// Anomalies in order of first appearance; equal ones are counted together.
class Anomalies {
 public:
  /// `kind`: "repaired", "dropped", "anonymous" or "assumed"; `what`: a full sentence that names the unit
  /// of `count`, without a number of its own.
  void add(std::string_view kind, std::string_view what, std::uint64_t count = 1);
  const std::vector<trace::Anomaly>& list() const { return list_; }

 private:
  std::vector<trace::Anomaly> list_;
};

/// Largest id + 1 of `experts` (missing ones do not count); 0 when there is none.
std::size_t experts_seen(std::span<const ExpertId> experts);

/// Of a format that ranks share, each rank has one: open_tokens, share and finish_tokens are collective and
/// fail on all alike.
class Output {
 public:
  Output(io::FileSystem& files, const ImportOptions& options, std::string fingerprint,
         trace::Provenance provenance);
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output();

  Anomalies& anomalies() { return anomalies_; }

  /// What is known of the model of the document at `path`: options.shape, else a guess from the path.
  std::optional<ModelShape> known_shape(const std::string& path) const;

  /// The shape to write, from what the document at `path` says (`seen`; 0 experts, model layers or top_k =
  /// it does not say) and what is known of the model. `layers_known`: seen.layers are ids, not just as many
  /// rows. options.shape must fit or it is bad input: equal experts and top_k where both are known, and
  /// layers that hold seen.layers (or are as many, when not known). A shape guessed from the path is taken
  /// when it fits and otherwise dropped. What nobody knows is assumed and reported; experts may stay 0:
  /// open_tokens() then counts on the largest id.
  Result<ModelShape> settle_shape(const ModelShape& seen, bool layers_known, const std::string& path);

  /// Token stores. shape.experts = 0: not known yet, largest id + 1 at the end.
  Status open_tokens(const ModelShape& shape, trace::IdOrder order = trace::IdOrder::kSet,
                     bool weights = false);
  bool is_open() const { return writer_ != nullptr; }
  std::uint64_t tokens() const;
  /// After bad input: removes what an unfinished token store has written. Other failures keep it, so that
  /// the import can be resumed.
  void abandon();
  /// Experts [tokens, L, k], kMissingExpert where the source had none. An id >= shape.experts is bad input
  /// that names `where` (the document). An empty domain becomes options.domain.
  Status add_request(const std::string& where, trace::RequestRecord record, std::span<const ExpertId> experts,
                     std::span<const float> weights = {});
  Status add_anonymous(const std::string& where, std::uint64_t tokens, std::span<const ExpertId> experts,
                       std::span<const float> weights = {});
  /// Collective: what each rank has added and reported since comes after that of the ranks before it
  /// (trace/writer.hpp). Nothing on one rank.
  Status share();
  /// REQUIRES: open_tokens. At least one token, else bad input. Collective.
  Status finish_tokens();

  /// The map of slots that was in force at the end of the dump, where it says.
  void note_engine_map(EngineMap map) { engine_map_ = std::move(map); }

  /// Counts stores: writes `store` (its provenance is filled in here). shape.experts must be known.
  Status counts(trace::CountStore store);

  /// Fills kind, shape, requests, tokens, rows, domains, anomalies, the engine's map.
  void summarise(ImportSummary& summary) const;

 private:
  Status gather_anomalies();
  Status check_ids(const std::string& where, std::span<const ExpertId> experts);

  io::FileSystem& files_;
  const ImportOptions& options_;
  std::string fingerprint_;
  trace::Provenance provenance_;
  Anomalies anomalies_;
  std::vector<Anomalies> rounds_;  ///< several ranks: those before each share()
  std::unique_ptr<trace::TokenWriter> writer_;
  std::uint64_t skip_ = 0;  ///< records that an interrupted import already stored
  trace::Kind kind_ = trace::Kind::kTokens;
  ModelShape shape_;
  std::size_t experts_seen_ = 0;
  std::uint64_t requests_ = 0, tokens_ = 0, rows_ = 0;
  std::vector<std::string> domains_;
  std::optional<EngineMap> engine_map_;
  bool finished_ = false;
};

}  // namespace moesaic::ingest
