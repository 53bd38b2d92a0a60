#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "comm/parcel.hpp"
#include "core/check.hpp"
#include "io/zarr_array.hpp"
#include "trace/layer_shares.hpp"
#include "trace/paths.hpp"
#include "trace/piece_buffer.hpp"
#include "trace/record_parcel.hpp"
#include "trace/shard_log.hpp"
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

/// Values as they were before they travelled.
template <class T>
std::vector<T> values_of(const comm::Bytes& bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
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
        comm(*options.comm),
        shares(comm, shape.layers.size(), shape.top_k),
        rows(shares.rows_of(comm.rank())),
        buffer(rows, shape.top_k, static_cast<std::size_t>(options.layout.piece_tokens),
               id_type(shape.experts), options.order, options.weights) {}

  io::FileSystem& files;
  std::string path, partial;
  ModelShape shape;
  WriterOptions options;
  comm::Comm& comm;
  std::optional<ShardLog> log;  ///< at the root
  bool broken = false;

  LayerShares shares;
  std::size_t rows;  ///< layer rows of this rank; its pieces are theirs
  PieceBuffer buffer;
  std::size_t pieces = 0;                                      ///< encoded, of the shard under way
  std::vector<io::EncodedPiece> expert_pieces, weight_pieces;  ///< [pieces, rows]
  std::uint64_t shards = 0;                                    ///< on disk
  std::uint64_t tokens = 0;                                    ///< of all ranks, shared
  std::uint64_t records_on_disk = 0, tokens_on_disk = 0;       ///< when this run began
  std::uint32_t max_id = 0;

  /// Several ranks: what this one has added since it last shared. Columns are [tokens, rows of r, k] for
  /// each rank r.
  struct Stretch {
    std::vector<JournalRecord> records;
    std::uint64_t tokens = 0;
    std::vector<comm::Bytes> experts, weights;
  } pending;
  std::uint64_t records = 0;  ///< of all ranks, shared

  bool alone() const { return comm.size() == 1; }
  Status begin();
  Status check_ids(std::span<const ExpertId> experts, const JournalRecord& record);
  Status add(JournalRecord record, std::span<const ExpertId> experts, std::span<const float> weights);
  Status share();
  Status log_records(const std::vector<comm::Bytes>& parcels);
  Result<std::vector<comm::Bytes>> exchange(std::vector<comm::Bytes>& columns, std::uint64_t on_disk,
                                            std::size_t value_bytes);
  Status take(std::size_t count, std::span<const ExpertId> experts, std::span<const float> weights);
  void encode_pieces();
  Result<JournalShard> write_shard_files();
  Status write_full_shard();
  Status finish(std::size_t experts, const Provenance& provenance);
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
  MOESAIC_TRY(validate(token_array(io::ZarrType::kFloat32, 0, shape, options.layout), path));
  MOESAIC_TRY(impl->begin());
  return TokenWriter(std::move(impl));
}

Status TokenWriter::Impl::begin() {
  Status opened;
  if (comm.is_root()) {
    Result<ShardLog> found = ShardLog::open(files, path, shape, options);
    if (found) {
      log.emplace(std::move(*found));
    } else {
      opened = tl::unexpected(std::move(found).error());
    }
  }
  MOESAIC_TRY(comm::agree(comm, opened));
  comm::Packer parcel;
  if (log) {
    for (const std::uint64_t number : {log->shards(), log->records_on_disk(), log->tokens_on_disk()})
      parcel.put(number);
    parcel.put(log->max_id());
  }
  comm::Bytes bytes = parcel.take();
  MOESAIC_TRY(comm.broadcast(bytes, 0));
  comm::Unpacker state(bytes);
  state.get(shards);
  state.get(records_on_disk);
  state.get(tokens_on_disk);
  state.get(max_id);
  pending.experts.resize(comm.size());
  pending.weights.resize(options.weights ? comm.size() : 0);
  return {};
}

std::uint64_t TokenWriter::records_to_skip() const { return impl_->alone() ? impl_->records_on_disk : 0; }
std::uint64_t TokenWriter::tokens() const { return impl_->alone() ? impl_->log->tokens() : impl_->tokens; }
const RequestTable& TokenWriter::requests() const {
  static const RequestTable none;
  return impl_->log ? impl_->log->requests() : none;
}

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
  MOESAIC_TRY(check_ids(experts, record));
  if (!alone()) {
    pending.tokens += record.tokens;
    pending.records.push_back(std::move(record));
    shares.split(experts, pending.experts);
    if (options.weights) shares.split(weights, pending.weights);
    return {};
  }
  const auto count = static_cast<std::size_t>(record.tokens);
  MOESAIC_ASSIGN(const std::uint64_t on_disk, log->add(std::move(record)));
  tokens = log->tokens();
  const auto skip = static_cast<std::size_t>(on_disk);
  Status taken = take(count - skip, experts.subspan(skip * width),
                      options.weights ? weights.subspan(skip * width) : weights);
  broken = !taken;
  return taken;
}

Status TokenWriter::share() {
  if (impl_->alone()) return {};
  Status shared = impl_->share();
  impl_->broken = !shared;
  return shared;
}

Status TokenWriter::Impl::share() {
  // Where each rank's tokens come to lie: lengths first, then their prefix sum.
  comm::Packer lengths;
  lengths.put(pending.tokens);
  lengths.put(max_id);
  const comm::Bytes mine = lengths.take();
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> all, comm.all_gather(mine));
  std::uint64_t end = tokens;
  std::vector<std::uint64_t> fresh(comm.size());  ///< tokens of each rank that are not on disk
  for (std::size_t rank = 0; rank < comm.size(); ++rank) {
    comm::Unpacker theirs(all[rank]);
    const std::uint64_t from = end;
    end += theirs.get<std::uint64_t>();
    fresh[rank] = end - std::clamp(tokens_on_disk, from, end);
    max_id = std::max(max_id, theirs.get<std::uint32_t>());
  }
  tokens = end;
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> records_of, comm::gather(comm, pack(pending.records)));
  MOESAIC_TRY(comm::agree(comm, log ? log_records(records_of) : Status()));
  const std::uint64_t on_disk = pending.tokens - fresh[comm.rank()];
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> experts,
                 exchange(pending.experts, on_disk, sizeof(ExpertId)));
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> weights, exchange(pending.weights, on_disk, sizeof(float)));
  pending.records.clear();
  pending.tokens = 0;
  for (std::size_t rank = 0; rank < comm.size(); ++rank) {
    const std::vector<ExpertId> ids = values_of<ExpertId>(experts[rank]);
    const std::vector<float> values =
        options.weights ? values_of<float>(weights[rank]) : std::vector<float>();
    MOESAIC_TRY(take(static_cast<std::size_t>(fresh[rank]), ids, values));
  }
  return {};
}

/// Root: the records of all ranks, but for those that an interrupted run left on disk.
Status TokenWriter::Impl::log_records(const std::vector<comm::Bytes>& parcels) {
  for (const comm::Bytes& parcel : parcels) {
    for (JournalRecord& record : unpack_records(parcel)) {
      if (records++ < records_on_disk) continue;
      MOESAIC_TRY(log->add(std::move(record)));
    }
  }
  if (records >= records_on_disk && log->tokens() != tokens) {
    return bad_input(fmt::format(
        "{}: the interrupted import had other numbers of tokens in its {} records; the source has "
        "changed, remove {} to start over",
        partial, records_on_disk, partial));
  }
  return {};
}

/// Sends each rank its columns, without the leading tokens that are on disk; returns this rank's of all
/// ranks' tokens. `columns` is empty where there is nothing of that kind, and emptied.
Result<std::vector<comm::Bytes>> TokenWriter::Impl::exchange(std::vector<comm::Bytes>& columns,
                                                             std::uint64_t on_disk, std::size_t value_bytes) {
  if (columns.empty()) return std::vector<comm::Bytes>();
  for (std::size_t rank = 0; on_disk > 0 && rank < columns.size(); ++rank) {
    const std::uint64_t bytes = on_disk * shares.rows_of(rank) * shape.top_k * value_bytes;
    columns[rank].erase(columns[rank].begin(), columns[rank].begin() + static_cast<std::ptrdiff_t>(bytes));
  }
  auto received = comm.exchange(comm::everybody(comm), columns);
  columns.assign(columns.size(), comm::Bytes());
  return received;
}

/// Tokens [count, rows, k] in their order; a full shard is written by all ranks together.
Status TokenWriter::Impl::take(std::size_t count, std::span<const ExpertId> experts,
                               std::span<const float> weights) {
  const std::size_t width = rows * shape.top_k;
  while (count > 0) {
    const std::size_t taken = buffer.fill(count, experts, weights);
    count -= taken;
    experts = experts.subspan(taken * width);
    if (!weights.empty()) weights = weights.subspan(taken * width);
    if (buffer.full()) encode_pieces();
    if (pieces == options.layout.shard_tokens / options.layout.piece_tokens) MOESAIC_TRY(write_full_shard());
  }
  return {};
}

void TokenWriter::Impl::encode_pieces() {
  PieceBuffer::Encoded encoded = buffer.encode(options.pool);
  std::ranges::move(encoded.experts, std::back_inserter(expert_pieces));
  std::ranges::move(encoded.weights, std::back_inserter(weight_pieces));
  ++pieces;
}

/// Shard s is written by rank s mod n, with the pieces of all; every rank gets to know what it holds.
Result<JournalShard> TokenWriter::Impl::write_shard_files() {
  const auto most = static_cast<std::size_t>(options.layout.shard_tokens / options.layout.piece_tokens);
  const std::size_t owner = shards % comm.size();
  MOESAIC_ASSIGN(auto experts, shares.gather(std::exchange(expert_pieces, {}), owner));
  std::vector<io::EncodedPiece> weights;
  if (options.weights) {
    MOESAIC_ASSIGN(weights, shares.gather(std::exchange(weight_pieces, {}), owner));
  }
  pieces = 0;
  JournalShard shard;
  const auto write = [&](const char* array, std::vector<io::EncodedPiece>& all, std::uint64_t& bytes,
                         io::Hash128& hash) -> Status {
    hash = io::shard_hash(all);
    all.resize(most * shape.layers.size());
    const std::string folder = io::join_path(partial, array);
    MOESAIC_ASSIGN(bytes,
                   io::write_shard(files, io::join_path(folder, io::chunk_key({shards, 0, 0})), all, most));
    return {};
  };
  Status written;
  if (comm.rank() == owner) {
    written = write("experts", experts, shard.expert_bytes, shard.expert_hash);
    if (written && options.weights)
      written = write("weights", weights, shard.weight_bytes, shard.weight_hash);
  }
  MOESAIC_TRY(comm::agree(comm, written));
  comm::Packer parcel;
  parcel.put(shard.expert_bytes);
  parcel.put(shard.weight_bytes);
  parcel.put(shard.expert_hash);
  parcel.put(shard.weight_hash);
  comm::Bytes bytes = parcel.take();
  MOESAIC_TRY(comm.broadcast(bytes, owner));
  comm::Unpacker said(bytes);
  said.get(shard.expert_bytes);
  said.get(shard.weight_bytes);
  said.get(shard.expert_hash);
  said.get(shard.weight_hash);
  return shard;
}

Status TokenWriter::Impl::write_full_shard() {
  MOESAIC_ASSIGN(JournalShard shard, write_shard_files());
  shard.max_id = max_id;
  MOESAIC_TRY(comm::agree(comm, log ? log->append(std::move(shard)) : Status()));
  ++shards;
  return {};
}

Result<io::ZarrType> TokenWriter::Impl::stored_type(std::size_t experts) {
  if (experts > shape.experts || (max_id >= experts && tokens > 0)) {
    return bad_input(
        fmt::format("{}: finished with {} experts, expected more than the largest id {} and at most {}", path,
                    experts, max_id, shape.experts));
  }
  if (shards == 0 && pieces == 0) {  // nothing is encoded yet: the final number decides
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
  if (!alone()) MOESAIC_TRY(share());
  MOESAIC_ASSIGN(const io::ZarrType type, stored_type(experts));
  shape.experts = experts;
  MOESAIC_TRY(validate(shape));
  if (buffer.tokens() > 0) encode_pieces();
  if (pieces > 0) {
    MOESAIC_ASSIGN(const JournalShard last, write_shard_files());
    if (log) log->append_last(last);
  }
  return comm::agree(comm, log ? log->finish(shape, type, provenance) : Status());
}

}  // namespace moesaic::trace
