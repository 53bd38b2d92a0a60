#include "trace/request_columns.hpp"

#include <fmt/format.h>

#include <unordered_set>

#include "core/limits.hpp"
#include "io/zarr_array.hpp"

namespace moesaic::trace {
namespace {

constexpr std::uint64_t kMaxIdText = std::uint64_t{1} << 36;

template <class T>
Result<std::vector<T>> read_column(io::FileSystem& files, const std::string& folder, std::uint64_t expected) {
  MOESAIC_ASSIGN(const io::ZarrReader reader, io::ZarrReader::open(files, folder));
  const std::uint64_t size = reader.array().shape[0];
  if (size != expected) {
    return bad_input(fmt::format("{}: {} rows, expected {} as in \"start\"", folder, size, expected));
  }
  return reader.read_column<T>(limits::kMaxRequests);
}

Result<std::vector<std::string>> cut_ids(const std::vector<std::uint64_t>& ends,
                                         const std::vector<std::uint8_t>& text, const std::string& folder) {
  std::vector<std::string> ids;
  ids.reserve(ends.size());
  std::uint64_t begin = 0;
  for (const std::uint64_t end : ends) {
    if (end < begin || end > text.size() || end - begin > limits::kMaxStringBytes) {
      return bad_input(
          fmt::format("{}/id: request {} ends at byte {}, expected {} to {} and at most {} bytes", folder,
                      ids.size(), end, begin, text.size(), limits::kMaxStringBytes));
    }
    const auto* bytes = reinterpret_cast<const char*>(text.data());
    ids.emplace_back(bytes + begin, bytes + end);
    begin = end;
  }
  if (begin != text.size()) {
    return bad_input(fmt::format("{}/id_text: {} bytes, expected {}", folder, text.size(), begin));
  }
  return ids;
}

}  // namespace

template <class T>
Status write_store_column(io::FileSystem& files, const std::string& store, const std::string& name,
                          const std::vector<T>& values, std::map<std::string, ArrayContent>& arrays,
                          Json attributes) {
  MOESAIC_ASSIGN(const io::Hash128 hash, io::write_column<T>(files, io::join_path(store, name),
                                                             std::span(values), std::move(attributes)));
  arrays[name] = {.shape = {values.size()}, .hash = io::hex(hash)};
  return {};
}

template Status write_store_column(io::FileSystem&, const std::string&, const std::string&,
                                   const std::vector<std::uint8_t>&, std::map<std::string, ArrayContent>&,
                                   Json);
template Status write_store_column(io::FileSystem&, const std::string&, const std::string&,
                                   const std::vector<std::uint16_t>&, std::map<std::string, ArrayContent>&,
                                   Json);
template Status write_store_column(io::FileSystem&, const std::string&, const std::string&,
                                   const std::vector<std::uint32_t>&, std::map<std::string, ArrayContent>&,
                                   Json);
template Status write_store_column(io::FileSystem&, const std::string&, const std::string&,
                                   const std::vector<std::uint64_t>&, std::map<std::string, ArrayContent>&,
                                   Json);
template Status write_store_column(io::FileSystem&, const std::string&, const std::string&,
                                   const std::vector<std::int64_t>&, std::map<std::string, ArrayContent>&,
                                   Json);

Status write_group(io::FileSystem& files, const std::string& folder, const Json& attributes) {
  MOESAIC_ASSIGN(const auto file, files.create(io::join_path(folder, "zarr.json")));
  MOESAIC_TRY(file->append(io::as_bytes(io::group_metadata(attributes))));
  MOESAIC_TRY(file->sync());
  return files.sync_directory(folder);
}

Status check_group(io::FileSystem& files, const std::string& folder) {
  const std::string path = io::join_path(folder, "zarr.json");
  MOESAIC_ASSIGN(const std::string text, io::read_file(files, path, limits::kMaxConfigBytes));
  MOESAIC_TRY(io::parse_group_metadata(text, path));
  return {};
}

Json labels_json(const std::vector<std::string>& labels) {
  Json::Array array;
  for (const std::string& label : labels) array.emplace_back(label);
  Json json;
  json["labels"] = Json(std::move(array));
  return json;
}

Result<std::vector<std::string>> parse_labels(const Json& attributes, const std::string& where) {
  const Json* list = attributes.find("labels");
  if (list == nullptr || !list->is_array()) {
    return bad_input(fmt::format("{}: attribute \"labels\" is missing, expected a list of strings", where));
  }
  std::vector<std::string> labels;
  std::unordered_set<std::string_view> seen;
  for (const Json& label : *list->as_array()) {
    if (!label.is_string() || !seen.insert(*label.as_string()).second) {
      return bad_input(fmt::format("{}: attribute \"labels\" holds {}, expected strings, each once", where,
                                   label.dump().substr(0, 80)));
    }
    labels.push_back(*label.as_string());
  }
  return labels;
}

Status write_requests(io::FileSystem& files, const std::string& store, const RequestTable& requests,
                      std::map<std::string, ArrayContent>& arrays) {
  std::vector<std::uint64_t> ends;
  std::vector<std::uint8_t> text;
  for (const std::string& id : requests.id) {
    text.insert(text.end(), id.begin(), id.end());
    ends.push_back(text.size());
  }
  MOESAIC_TRY(write_store_column(files, store, "request/start", requests.start, arrays));
  MOESAIC_TRY(write_store_column(files, store, "request/prefill_tokens", requests.prefill_tokens, arrays));
  MOESAIC_TRY(write_store_column(files, store, "request/decode_tokens", requests.decode_tokens, arrays));
  MOESAIC_TRY(write_store_column(files, store, "request/domain", requests.domain, arrays,
                                 labels_json(requests.domains)));
  MOESAIC_TRY(write_store_column(files, store, "request/id", ends, arrays));
  MOESAIC_TRY(write_store_column(files, store, "request/id_text", text, arrays));
  if (!requests.arrival_ns.empty()) {
    MOESAIC_TRY(write_store_column(files, store, "request/arrival", requests.arrival_ns, arrays));
  }
  return write_group(files, io::join_path(store, "request"), {});
}

Result<RequestTable> read_requests(io::FileSystem& files, const std::string& store, std::uint64_t tokens) {
  const std::string folder = io::join_path(store, "request");
  MOESAIC_TRY(check_group(files, folder));
  RequestTable requests;
  MOESAIC_ASSIGN(const io::ZarrReader starts, io::ZarrReader::open(files, folder + "/start"));
  MOESAIC_ASSIGN(requests.start, starts.read_column<std::uint64_t>(limits::kMaxRequests));
  const std::size_t n = requests.size();
  MOESAIC_ASSIGN(requests.prefill_tokens, read_column<std::uint32_t>(files, folder + "/prefill_tokens", n));
  MOESAIC_ASSIGN(requests.decode_tokens, read_column<std::uint32_t>(files, folder + "/decode_tokens", n));
  MOESAIC_ASSIGN(requests.domain, read_column<std::uint16_t>(files, folder + "/domain", n));
  MOESAIC_ASSIGN(const io::ZarrReader domains, io::ZarrReader::open(files, folder + "/domain"));
  MOESAIC_ASSIGN(requests.domains, parse_labels(domains.array().attributes, folder + "/domain"));
  MOESAIC_ASSIGN(const auto ends, read_column<std::uint64_t>(files, folder + "/id", n));
  MOESAIC_ASSIGN(const io::ZarrReader text, io::ZarrReader::open(files, folder + "/id_text"));
  MOESAIC_ASSIGN(const auto id_text, text.read_column<std::uint8_t>(kMaxIdText));
  MOESAIC_ASSIGN(requests.id, cut_ids(ends, id_text, folder));
  MOESAIC_ASSIGN(const io::FileStatus arrival, files.status(folder + "/arrival"));
  if (arrival.exists) {
    MOESAIC_ASSIGN(requests.arrival_ns, read_column<std::int64_t>(files, folder + "/arrival", n));
  }
  MOESAIC_TRY(validate(requests, tokens, folder));
  return requests;
}

}  // namespace moesaic::trace
