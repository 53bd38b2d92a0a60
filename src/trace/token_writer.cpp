#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "core/check.hpp"
#include "core/limits.hpp"
#include "io/zarr_array.hpp"
#include "trace/journal.hpp"
#include "trace/partial_store.hpp"
#include "trace/paths.hpp"
#include "trace/piece_buffer.hpp"
#include "trace/request_columns.hpp"
#include "trace/request_ledger.hpp"
#include "trace/store_header.hpp"
#include "trace/writer.hpp"

namespace moesaic::trace {
namespace {

io::ZarrType id_type(std::size_t experts) {
  return experts <= 255 ? io::ZarrType::kUint8 : io::ZarrType::kUint16;
}

Status check_layout(const StoreLayout& layout) {
  if (layout.piece_tokens == 0 || layout.shard_tokens % layout.piece_tokens != 0 ||
      layout.shard_tokens == 0) {
    return bad_input(fmt::format("store layout: shards of {} tokens in pieces of {}, expected a multiple",
                                 layout.shard_tokens, layout.piece_tokens));
  }
  return {};
}

}  // namespace

struct TokenWriter::Impl {
  Impl(io::FileSystem& the_files, std::string the_path, const ModelShape& the_shape,
       const WriterOptions& the_options)
      : files(the_files),
        path(std::move(the_path)),
        partial(partial_path(path)),
        shape(the_shape),
        options(the_options),
        buffer(shape.layers.size(), shape.top_k, static_cast<std::size_t>(options.layout.piece_tokens),
               id_type(shape.experts), options.order, options.weights) {}

  io::FileSystem& files;
  std::string path, partial;
  ModelShape shape;
  WriterOptions options;
  std::optional<Journal> journal;
  bool broken = false;

  PieceBuffer buffer;
  std::vector<io::EncodedPiece> expert_pieces, weight_pieces;  ///< of the shard under way, C order
  RequestLedger ledger;
  std::vector<JournalRecord> records;                     ///< added, in no journal line yet
  std::vector<std::uint64_t> record_ends;                 ///< token after each of them
  std::vector<io::Hash128> expert_hashes, weight_hashes;  ///< of the shards on disk
  std::uint64_t tokens = 0;                               ///< added
  std::uint64_t to_skip = 0;                              ///< records on disk when this run began
  std::uint64_t resumed_tokens = 0;                       ///< tokens on disk when this run began
  std::uint32_t max_id = 0;

  std::uint64_t shards() const { return expert_hashes.size(); }
  Status begin();
  void restore(const std::vector<JournalShard>& found);
  Status check_ids(std::span<const ExpertId> experts, const JournalRecord& record);
  Status add(JournalRecord record, std::span<const ExpertId> experts, std::span<const float> weights);
  Status take(std::span<const ExpertId> experts, std::span<const float> weights);
  void encode_pieces();
  Result<JournalShard> write_shard_files();
  Status write_full_shard();
  Status finish(std::size_t experts, const Provenance& provenance);
  io::ZarrArray token_array(io::ZarrType type) const;
  Result<io::ZarrType> stored_type(std::size_t experts);
};

TokenWriter::TokenWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TokenWriter::TokenWriter(TokenWriter&&) noexcept = default;
TokenWriter& TokenWriter::operator=(TokenWriter&&) noexcept = default;
TokenWriter::~TokenWriter() = default;

Result<TokenWriter> TokenWriter::open(io::FileSystem& files, const std::string& path, const ModelShape& shape,
                                      const WriterOptions& options) {
  MOESAIC_TRY(validate(shape));
  MOESAIC_TRY(check_layout(options.layout));
  auto impl = std::make_unique<Impl>(files, path, shape, options);
  MOESAIC_TRY(validate(impl->token_array(io::ZarrType::kFloat32), path));
  MOESAIC_TRY(impl->begin());
  return TokenWriter(std::move(impl));
}

Status TokenWriter::Impl::begin() {
  MOESAIC_TRY(recover_store(files, path));
  MOESAIC_TRY(refuse_existing(files, path, options.force));
  MOESAIC_ASSIGN(PartialStore found, open_partial_store(files, partial, shape, options));
  journal.emplace(std::move(found.journal));
  restore(found.shards);
  return {};
}

void TokenWriter::Impl::restore(const std::vector<JournalShard>& found) {
  for (const JournalShard& shard : found) {
    for (const JournalRecord& record : shard.records) {
      if (record.request) ledger.add(*record.request, tokens);
      tokens += record.tokens;
      ++to_skip;
    }
    expert_hashes.push_back(shard.expert_hash);
    weight_hashes.push_back(shard.weight_hash);
    max_id = shard.max_id;
  }
  resumed_tokens = shards() * options.layout.shard_tokens;
}

std::uint64_t TokenWriter::records_to_skip() const { return impl_->to_skip; }
std::uint64_t TokenWriter::tokens() const { return impl_->tokens; }

Status TokenWriter::add_request(const RequestRecord& request, std::span<const ExpertId> experts,
                                std::span<const float> weights) {
  const std::uint64_t count = std::uint64_t{request.prefill_tokens} + request.decode_tokens;
  return impl_->add({.request = request, .tokens = count}, experts, weights);
}

Status TokenWriter::add_anonymous(std::uint64_t tokens, std::span<const ExpertId> experts,
                                  std::span<const float> weights) {
  return impl_->add({.request = std::nullopt, .tokens = tokens}, experts, weights);
}

Status TokenWriter::Impl::check_ids(std::span<const ExpertId> experts, const JournalRecord& record) {
  std::uint32_t largest = 0;
  for (const ExpertId id : experts) {
    const auto number = static_cast<std::uint32_t>(id);
    largest = std::max(largest, id == kMissingExpert ? 0u : number);
  }
  if (largest < shape.experts) {
    max_id = std::max(max_id, largest);
    return {};
  }
  const std::size_t width = shape.layers.size() * shape.top_k;
  const auto at = static_cast<std::size_t>(
      std::ranges::find_if(experts,
                           [&](ExpertId id) { return id != kMissingExpert && index(id) >= shape.experts; }) -
      experts.begin());
  return bad_input(fmt::format(
      "{}: token {} of layer {} has expert {}, expected ids below {}; is the model right?",
      record.request ? fmt::format("request \"{}\"", record.request->id) : "tokens without a request",
      at / width, index(shape.layers[at % width / shape.top_k]), largest, shape.experts));
}

Status TokenWriter::Impl::add(JournalRecord record, std::span<const ExpertId> experts,
                              std::span<const float> weights) {
  const std::size_t width = shape.layers.size() * shape.top_k;
  MOESAIC_CHECK(experts.size() == record.tokens * width);
  MOESAIC_CHECK(weights.size() == (options.weights ? experts.size() : 0));
  if (broken)
    return environment_error(fmt::format("{}: writing failed before; run the import again", partial));
  if (record.request) MOESAIC_TRY(ledger.check(*record.request));
  MOESAIC_TRY(check_ids(experts, record));
  if (record.tokens > limits::kMaxTokens - tokens) {
    return bad_input(fmt::format("{}: more than {} tokens", path, limits::kMaxTokens));
  }
  // The first record after a resume may have its head on disk already.
  const std::uint64_t on_disk = resumed_tokens > tokens ? resumed_tokens - tokens : 0;
  if (on_disk > record.tokens) {
    return bad_input(
        fmt::format("{}: the interrupted import had more than {} tokens of its record {}, this one has "
                    "{}; the source has changed, remove {} to start over",
                    partial, on_disk, to_skip, record.tokens, partial));
  }
  if (record.request) ledger.add(*record.request, tokens);
  tokens += record.tokens;
  records.push_back(std::move(record));
  record_ends.push_back(tokens);
  const auto skip = static_cast<std::size_t>(on_disk) * width;
  Status taken = take(experts.subspan(skip), options.weights ? weights.subspan(skip) : weights);
  broken = !taken;
  return taken;
}

Status TokenWriter::Impl::take(std::span<const ExpertId> experts, std::span<const float> weights) {
  const std::size_t width = shape.layers.size() * shape.top_k;
  const std::uint64_t pieces =
      options.layout.shard_tokens / options.layout.piece_tokens * shape.layers.size();
  while (!experts.empty()) {
    const std::size_t taken = buffer.fill(experts, weights) * width;
    experts = experts.subspan(taken);
    if (!weights.empty()) weights = weights.subspan(taken);
    if (buffer.full()) encode_pieces();
    if (expert_pieces.size() == pieces) MOESAIC_TRY(write_full_shard());
  }
  return {};
}

void TokenWriter::Impl::encode_pieces() {
  PieceBuffer::Encoded encoded = buffer.encode(options.pool);
  std::ranges::move(encoded.experts, std::back_inserter(expert_pieces));
  std::ranges::move(encoded.weights, std::back_inserter(weight_pieces));
}

Result<JournalShard> TokenWriter::Impl::write_shard_files() {
  const auto rows = static_cast<std::size_t>(options.layout.shard_tokens / options.layout.piece_tokens);
  const auto write = [&](const char* array, std::vector<io::EncodedPiece>& pieces) -> Result<std::uint64_t> {
    pieces.resize(rows * shape.layers.size());
    const std::string folder = io::join_path(partial, array);
    return io::write_shard(files, io::join_path(folder, io::chunk_key({shards(), 0, 0})), pieces, rows);
  };
  JournalShard shard;
  shard.expert_hash = io::shard_hash(expert_pieces);
  MOESAIC_ASSIGN(shard.expert_bytes, write("experts", expert_pieces));
  if (options.weights) {
    shard.weight_hash = io::shard_hash(weight_pieces);
    MOESAIC_ASSIGN(shard.weight_bytes, write("weights", weight_pieces));
  }
  expert_pieces.clear();
  weight_pieces.clear();
  return shard;
}

Status TokenWriter::Impl::write_full_shard() {
  const std::uint64_t end = (shards() + 1) * options.layout.shard_tokens;
  MOESAIC_ASSIGN(JournalShard shard, write_shard_files());
  const auto whole = std::ranges::upper_bound(record_ends, end) - record_ends.begin();
  shard.max_id = max_id;
  shard.records.assign(records.begin(), records.begin() + whole);
  MOESAIC_TRY(journal->append(shard));
  records.erase(records.begin(), records.begin() + whole);
  record_ends.erase(record_ends.begin(), record_ends.begin() + whole);
  expert_hashes.push_back(shard.expert_hash);
  weight_hashes.push_back(shard.weight_hash);
  return {};
}

io::ZarrArray TokenWriter::Impl::token_array(io::ZarrType type) const {
  const std::uint64_t layers = shape.layers.size(), top_k = shape.top_k;
  return {.type = type,
          .shape = {tokens, layers, top_k},
          .chunk = {options.layout.shard_tokens, layers, top_k},
          .inner = {options.layout.piece_tokens, 1, top_k},
          .attributes = {}};
}

Result<io::ZarrType> TokenWriter::Impl::stored_type(std::size_t experts) {
  if (experts > shape.experts || (max_id >= experts && tokens > 0)) {
    return bad_input(
        fmt::format("{}: finished with {} experts, expected more than the largest id {} and at most {}", path,
                    experts, max_id, shape.experts));
  }
  if (shards() == 0 && expert_pieces.empty()) {  // nothing is encoded yet: the final number decides
    buffer.store_as(id_type(experts));
    return id_type(experts);
  }
  return id_type(shape.experts);
}

Status TokenWriter::finish(std::size_t experts, const Provenance& provenance) {
  if (impl_->broken) {
    return environment_error(fmt::format("{}: writing failed before; run the import again", impl_->partial));
  }
  Status finished = impl_->finish(experts, provenance);
  impl_->broken = true;  // also after success there is nothing left to write to
  return finished;
}

Status TokenWriter::Impl::finish(std::size_t experts, const Provenance& provenance) {
  if (tokens < resumed_tokens) {
    return bad_input(
        fmt::format("{}: the interrupted import had {} tokens, this one ends after {}; the source has "
                    "changed, remove {} to start over",
                    partial, resumed_tokens, tokens, partial));
  }
  MOESAIC_ASSIGN(const io::ZarrType type, stored_type(experts));
  shape.experts = experts;
  MOESAIC_TRY(validate(shape));
  if (buffer.tokens() > 0) encode_pieces();
  if (!expert_pieces.empty()) {
    MOESAIC_ASSIGN(const JournalShard last, write_shard_files());
    expert_hashes.push_back(last.expert_hash);
    weight_hashes.push_back(last.weight_hash);
  }
  std::map<std::string, ArrayContent> arrays;
  const auto close_array = [&](const char* array, const io::ZarrArray& metadata,
                               std::span<const io::Hash128> hashes) -> Status {
    arrays[array] = {.shape = metadata.shape, .hash = io::hex(io::hash128(std::as_bytes(hashes)))};
    const std::string folder = io::join_path(partial, array);
    MOESAIC_TRY(io::write_array_metadata(files, folder, metadata));
    return files.sync_directory(folder);
  };
  MOESAIC_TRY(close_array("experts", token_array(type), expert_hashes));
  if (options.weights)
    MOESAIC_TRY(close_array("weights", token_array(io::ZarrType::kFloat32), weight_hashes));
  MOESAIC_TRY(validate(ledger.table(), tokens, path));
  MOESAIC_TRY(write_requests(files, partial, ledger.table(), arrays));
  StoreHeader header{.kind = Kind::kTokens,
                     .shape = shape,
                     .order = options.order,
                     .weights = options.weights,
                     .unit = CountUnit::kTokens,
                     .provenance = provenance,
                     .digest = {}};
  ledger.add_anomalies(header.provenance.anomalies);
  return commit_partial_store(files, path, std::move(header), arrays, options.force);
}

}  // namespace moesaic::trace
