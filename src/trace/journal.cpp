#include "trace/journal.hpp"

#include "core/limits.hpp"
#include "io/json.hpp"
#include "trace/store_header.hpp"

namespace moesaic::trace {
namespace {

constexpr std::string_view kSchema = "moesaic.journal/1";

Json to_json(const JournalRecord& record) {
  if (!record.request) return Json(record.tokens);
  const RequestRecord& request = *record.request;
  return Json(Json::Array{request.id, request.domain, request.prefill_tokens, request.decode_tokens,
                          request.arrival_ns});
}

std::optional<JournalRecord> parse_record(const Json& json) {
  JournalRecord record;
  if (json.to_uint(record.tokens)) return record;
  const Json::Array* fields = json.as_array();
  if (fields == nullptr || fields->size() != 5) return std::nullopt;
  RequestRecord request;
  std::uint64_t prefill = 0, decode = 0;
  if (!(*fields)[0].is_string() || !(*fields)[1].is_string() || !(*fields)[2].to_uint(prefill) ||
      !(*fields)[3].to_uint(decode) || !(*fields)[4].to_int(request.arrival_ns) || prefill > UINT32_MAX ||
      decode > UINT32_MAX) {
    return std::nullopt;
  }
  request.id = *(*fields)[0].as_string();
  request.domain = *(*fields)[1].as_string();
  request.prefill_tokens = static_cast<std::uint32_t>(prefill);
  request.decode_tokens = static_cast<std::uint32_t>(decode);
  record.tokens = prefill + decode;
  record.request = std::move(request);
  return record;
}

Json to_json(const JournalShard& shard) {
  Json::Array records;
  for (const JournalRecord& record : shard.records) records.push_back(to_json(record));
  Json json;
  json["expert_bytes"] = shard.expert_bytes;
  json["expert_hash"] = io::hex(shard.expert_hash);
  json["weight_bytes"] = shard.weight_bytes;
  json["weight_hash"] = io::hex(shard.weight_hash);
  json["max_id"] = shard.max_id;
  json["records"] = Json(std::move(records));
  return json;
}

bool read_uint(const Json& json, std::string_view key, std::uint64_t& out) {
  const Json* value = json.find(key);
  return value != nullptr && value->to_uint(out);
}

bool read_hash(const Json& json, std::string_view key, io::Hash128& out) {
  const Json* value = json.find(key);
  return value != nullptr && value->is_string() && io::parse_hex(*value->as_string(), out);
}

std::optional<JournalShard> parse_shard(const Json& json) {
  JournalShard shard;
  std::uint64_t max_id = 0;
  const Json* records = json.find("records");
  if (!read_uint(json, "expert_bytes", shard.expert_bytes) ||
      !read_hash(json, "expert_hash", shard.expert_hash) ||
      !read_uint(json, "weight_bytes", shard.weight_bytes) ||
      !read_hash(json, "weight_hash", shard.weight_hash) || !read_uint(json, "max_id", max_id) ||
      max_id > limits::kMaxExperts || records == nullptr || !records->is_array()) {
    return std::nullopt;
  }
  shard.max_id = static_cast<std::uint32_t>(max_id);
  for (const Json& entry : *records->as_array()) {
    std::optional<JournalRecord> record = parse_record(entry);
    if (!record) return std::nullopt;
    shard.records.push_back(std::move(*record));
  }
  return shard;
}

}  // namespace

Json journal_head(const ModelShape& shape, const WriterOptions& options) {
  Json json = shape_json(shape);
  json["schema"] = kSchema;
  json["fingerprint"] = options.fingerprint;
  json["order"] = name(options.order);
  json["weights"] = options.weights;
  json["shard_tokens"] = options.layout.shard_tokens;
  json["piece_tokens"] = options.layout.piece_tokens;
  return json;
}

std::string Journal::path(const std::string& partial) { return io::join_path(partial, "journal.jsonl"); }

Result<Journal> Journal::create(io::FileSystem& files, const std::string& partial, const Json& head) {
  MOESAIC_ASSIGN(auto file, files.create(path(partial)));
  Journal journal(std::move(file));
  MOESAIC_TRY(journal.append_line(head));
  MOESAIC_TRY(files.sync_directory(partial));
  return journal;
}

Result<Journal::Found> Journal::read(io::FileSystem& files, const std::string& partial) {
  MOESAIC_ASSIGN(const std::string text, io::read_file(files, path(partial), limits::kMaxDocumentBytes));
  Found found;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    Result<Json> line = io::parse_json(std::string_view(text).substr(begin, end - begin), path(partial));
    if (!line) break;
    if (begin == 0) {
      const Json* schema = line->find("schema");
      if (schema == nullptr || *schema != Json(kSchema)) break;
      found.head = std::move(*line);
    } else {
      std::optional<JournalShard> shard = parse_shard(*line);
      if (!shard) break;
      found.shards.push_back(std::move(*shard));
    }
    begin = end + 1;
    found.ends.push_back(begin);
  }
  return found;
}

Result<Journal> Journal::resume(io::FileSystem& files, const std::string& partial, std::uint64_t keep) {
  MOESAIC_ASSIGN(auto file, files.append_to(path(partial), keep));
  return Journal(std::move(file));
}

Status Journal::append(const JournalShard& shard) { return append_line(to_json(shard)); }

Status Journal::append_line(const Json& line) {
  MOESAIC_TRY(file_->append(io::as_bytes(line.dump() + "\n")));
  return file_->sync();
}

}  // namespace moesaic::trace
