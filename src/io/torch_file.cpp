#include "io/torch_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "core/limits.hpp"
#include "io/archive.hpp"

namespace moesaic::io {
namespace {

Status check_storages(const Pickle& pickle, const std::map<std::string, std::string>& storages,
                      const std::string& where) {
  for (const PickleTensor* tensor : pickle.tensors()) {
    const auto found = storages.find(tensor->storage);
    const std::uint64_t have = found == storages.end() ? 0 : found->second.size() / size_of(tensor->dtype);
    if (found == storages.end() || have < tensor->storage_count) {
      return bad_input(
          fmt::format("{}: storage data/{:.40} has {} elements, expected {}; the file is damaged", where,
                      tensor->storage, have, tensor->storage_count));
    }
  }
  return {};
}

}  // namespace

Result<TorchFile> TorchFile::read(const ReadFile& file, const std::string& where) {
  std::byte magic[2] = {};
  MOESAIC_ASSIGN(const std::size_t got, file.read_at(0, magic));
  if (got != 2 || magic[0] != std::byte{'P'} || magic[1] != std::byte{'K'}) {
    return bad_input(fmt::format(
        "{}: is no file of torch.save (a zip); files of torch before 1.6 must be saved anew", where));
  }
  MOESAIC_ASSIGN(auto reader, ArchiveReader::open(file, where));
  std::optional<std::string> pickle;
  std::map<std::string, std::string> storages;
  for (;;) {
    MOESAIC_ASSIGN(std::optional<ArchiveEntry> entry, reader.next());
    if (!entry) break;
    const std::size_t slash = entry->name.find('/');
    const std::string_view inner =
        std::string_view(entry->name).substr(slash == std::string::npos ? 0 : slash + 1);
    if (inner == "data.pkl") {
      if (pickle) return bad_input(fmt::format("{}: holds data.pkl twice", where));
      pickle = std::move(entry->bytes);
    } else if (inner == "byteorder" && entry->bytes != "little") {
      return bad_input(fmt::format("{}: byte order \"{:.20}\", expected little", where, entry->bytes));
    } else if (inner.starts_with("data/")) {
      const std::string key(inner.substr(5));
      if (!storages.emplace(key, std::move(entry->bytes)).second) {
        return bad_input(fmt::format("{}: holds storage data/{} twice", where, key));
      }
    }
  }
  if (!pickle)
    return bad_input(fmt::format("{}: a zip without data.pkl, expected a file of torch.save", where));
  MOESAIC_ASSIGN(Pickle parsed, Pickle::parse(as_bytes(*pickle), where));
  MOESAIC_TRY(check_storages(parsed, storages, where));
  std::uint64_t bound = 0;
  if (__builtin_mul_overflow(file.size(), limits::kMaxUnpackRatio, &bound) ||
      __builtin_add_overflow(bound, std::uint64_t{64} << 20, &bound)) {
    bound = std::numeric_limits<std::uint64_t>::max();
  }
  return TorchFile(std::move(parsed), std::move(storages), where, std::min(bound, limits::kMaxDocumentBytes));
}

Result<TorchFile> TorchFile::read(FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const auto file, files.open(path));
  return read(*file, path);
}

Result<Array> TorchFile::materialise(const PickleTensor& tensor) const {
  const std::size_t item = size_of(tensor.dtype);
  // Strides of zero make a big tensor of a small storage.
  MOESAIC_ASSIGN(const std::uint64_t bytes,
                 checked_bytes(tensor.shape, item, max_bytes_, where_ + ": a tensor"));
  Array array{.dtype = tensor.dtype, .item_bytes = item, .shape = tensor.shape, .data = {}};
  array.data.resize(static_cast<std::size_t>(bytes));
  if (bytes == 0) return array;
  const std::string& storage = storages_.at(tensor.storage);
  std::vector<std::uint64_t> at(tensor.shape.size(), 0);
  std::uint64_t source = tensor.offset;
  for (std::size_t target = 0; target < array.data.size(); target += item) {
    std::memcpy(array.data.data() + target, storage.data() + source * item, item);
    for (std::size_t d = at.size(); d-- > 0;) {
      source += tensor.strides[d];
      if (++at[d] < tensor.shape[d]) break;
      source -= tensor.strides[d] * at[d];
      at[d] = 0;
    }
  }
  return array;
}

}  // namespace moesaic::io
