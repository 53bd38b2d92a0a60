#include "io/npz.hpp"

#include <fmt/format.h>

#include <set>

#include "io/archive.hpp"
#include "io/npy.hpp"

namespace moesaic::io {

const Array* Npz::find(const std::string& name) const {
  for (const NpzMember& member : members_) {
    if (member.name == name) return &member.array;
  }
  return nullptr;
}

Result<Npz> read_npz(const ReadFile& file, const std::string& where) {
  std::byte magic[2] = {};
  MOESAIC_ASSIGN(const std::size_t got, file.read_at(0, magic));
  if (got != 2 || magic[0] != std::byte{'P'} || magic[1] != std::byte{'K'}) {
    return bad_input(fmt::format("{}: is no .npz file (a zip of .npy files)", where));
  }
  MOESAIC_ASSIGN(auto reader, ArchiveReader::open(file, where));
  std::vector<NpzMember> members;
  std::set<std::string> names;
  for (;;) {
    MOESAIC_ASSIGN(std::optional<ArchiveEntry> entry, reader.next());
    if (!entry) break;
    const std::string place = fmt::format("{}: {}", where, entry->name);
    if (!entry->name.ends_with(".npy")) {
      return bad_input(fmt::format("{} is no .npy file; expected an archive written by numpy.savez", place));
    }
    std::string name = entry->name.substr(0, entry->name.size() - 4);
    if (!names.insert(name).second) return bad_input(fmt::format("{} is there twice", place));
    MOESAIC_ASSIGN(Array array, read_npy(as_bytes(entry->bytes), place));
    members.push_back({std::move(name), std::move(array)});
  }
  return Npz(std::move(members));
}

Result<Npz> read_npz(FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const auto file, files.open(path));
  return read_npz(*file, path);
}

}  // namespace moesaic::io
