#include "ingest/documents.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "core/limits.hpp"
#include "core/random.hpp"
#include "io/archive.hpp"
#include "io/byte_stream.hpp"

namespace moesaic::ingest {
namespace {

constexpr std::size_t kMaxFolderDepth = 32;
/// What a packed file is guessed to unpack to, for bounding batches; dumps pack about so well.
constexpr std::uint64_t kUsualRatio = 16;

bool cut_suffix(std::string& name, std::string_view suffix) {
  if (name.size() <= suffix.size() || !name.ends_with(suffix)) return false;
  name.resize(name.size() - suffix.size());
  return true;
}

bool is_packed(const std::string& path) { return io::without_compression(path).size() != path.size(); }

/// "" for paths without a folder of their own ("x.json", "./x.json", "/x.json").
std::string folder_name(const std::string& path) {
  const std::string name = io::base_name(io::parent_path(path));
  return name == "." || name == ".." || name == "/" ? std::string() : name;
}

}  // namespace

std::string without_packing(std::string_view name) {
  std::string out(name);
  for (const std::string_view suffix : {".tgz", ".txz", ".zip"}) {
    if (cut_suffix(out, suffix)) return out;
  }
  for (const std::string_view suffix : {".xz", ".zst", ".gz"}) {
    if (cut_suffix(out, suffix)) break;
  }
  cut_suffix(out, ".tar");
  return out;
}

std::string stem(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return std::string(dot == std::string_view::npos || dot == 0 ? name : name.substr(0, dot));
}

struct Documents::Impl {
  struct File {
    std::string path;
    std::size_t source;
    bool named;
    std::uint64_t size;
  };

  io::FileSystem& files;
  std::vector<File> list;
  std::size_t at = 0;

  std::uint64_t given = 0;
  DocumentFilter filter;
  std::optional<io::ArchiveReader> archive;  ///< being read: that of list[at - 1]

  Impl(io::FileSystem& files_in, DocumentFilter filter_in) : files(files_in), filter(std::move(filter_in)) {}

  /// Whether `document` passes the filter; an error when the user named it and it does not.
  Result<bool> takes(const Document& document) {
    if (filter.takes == nullptr || filter.takes(document.name)) return true;
    if (document.named) {
      return bad_input(
          fmt::format("{}: not a file of format {} by its name; leave it out, or name the format "
                      "with --format",
                      document.path, filter.format));
    }
    if (filter.left_out) filter.left_out(document);
    return false;
  }

  /// The next document, whether the filter takes it or not.
  Result<std::optional<Document>> step() {
    while (true) {
      if (archive) {
        MOESAIC_ASSIGN(std::optional<io::ArchiveEntry> entry, archive->next());
        if (entry) return std::optional<Document>(member(list[at - 1], std::move(*entry)));
        archive.reset();
      }
      if (at == list.size()) return std::optional<Document>();
      const File& file = list[at++];
      if (!io::is_archive_name(file.path)) return std::optional<Document>(plain(file));
      MOESAIC_ASSIGN(archive, io::ArchiveReader::open(files, file.path));
    }
  }

  static Document plain(const File& file) {
    Document out;
    out.path = file.path;
    out.name = without_packing(io::base_name(file.path));
    out.folder = folder_name(file.path);
    out.source = file.source;
    out.named = file.named;
    out.size = is_packed(file.path) ? kUsualRatio * file.size : file.size;
    return out;
  }

  static Document member(const File& file, io::ArchiveEntry entry) {
    Document out;
    out.path = file.path + ":" + entry.name;
    out.name = io::base_name(entry.name);
    out.folder = folder_name(entry.name);
    if (out.folder.empty()) out.folder = without_packing(io::base_name(file.path));
    out.source = file.source;
    out.size = entry.bytes.size();
    out.bytes = std::move(entry.bytes);
    out.bytes.reserve(out.bytes.size() + kPadding);
    out.loaded = true;
    return out;
  }

  Status walk(const std::string& path, std::size_t source, std::size_t depth) {
    if (depth > kMaxFolderDepth) {
      return bad_input(fmt::format("{}: folders nested deeper than {}", path, kMaxFolderDepth));
    }
    MOESAIC_ASSIGN(const io::FileStatus status, files.status(path));
    if (!status.exists) {
      return bad_input(fmt::format("{}: there is no such file or folder; check the path", path));
    }
    if (!status.is_directory) {
      list.push_back({path, source, depth == 0, status.size});
      return {};
    }
    MOESAIC_ASSIGN(const std::vector<std::string> names, files.list(path));
    for (const std::string& name : names) {
      if (name.starts_with(".")) continue;
      MOESAIC_TRY(walk(io::join_path(path, name), source, depth + 1));
    }
    return {};
  }
};

Documents::Documents(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Documents::Documents(Documents&&) noexcept = default;
Documents& Documents::operator=(Documents&&) noexcept = default;
Documents::~Documents() = default;

Result<Documents> Documents::open(io::FileSystem& files, std::span<const std::string> sources,
                                  DocumentFilter filter) {
  if (sources.empty()) return bad_input("no source given; name at least one file or folder to import");
  auto impl = std::make_unique<Impl>(files, std::move(filter));
  for (std::size_t i = 0; i < sources.size(); ++i) MOESAIC_TRY(impl->walk(sources[i], i, 0));
  return Documents(std::move(impl));
}

void Documents::restart(DocumentFilter filter) {
  impl_->at = 0;
  impl_->given = 0;
  impl_->filter = std::move(filter);
  impl_->archive.reset();
}

Result<std::optional<Document>> Documents::next() {
  while (true) {
    MOESAIC_ASSIGN(std::optional<Document> document, impl_->step());
    if (!document) return document;
    MOESAIC_ASSIGN(const bool taken, impl_->takes(*document));
    if (!taken) continue;
    ++impl_->given;
    return document;
  }
}

std::uint64_t Documents::given() const { return impl_->given; }

bool Documents::has_archives() const {
  return std::ranges::any_of(impl_->list,
                             [](const Impl::File& file) { return io::is_archive_name(file.path); });
}

std::string Documents::digest() const {
  std::uint64_t hash = 0;
  for (const Impl::File& file : impl_->list) hash = counter_hash({hash, hash_bytes(file.path), file.size});
  return fmt::format("{:016x}", hash);
}

Status Documents::load(Document& document) const {
  if (document.loaded) return {};
  if (is_packed(document.path)) {
    MOESAIC_ASSIGN(document.bytes,
                   io::read_maybe_compressed(impl_->files, document.path, limits::kMaxDocumentBytes));
    document.bytes.reserve(document.bytes.size() + kPadding);
  } else {
    MOESAIC_ASSIGN(const auto file, impl_->files.open(document.path));
    if (file->size() > limits::kMaxDocumentBytes) {
      return bad_input(fmt::format("{}: {} bytes, expected at most {} in one document", document.path,
                                   file->size(), limits::kMaxDocumentBytes));
    }
    // Room once, so that neither growing nor padding moves the bytes again.
    const auto size = static_cast<std::size_t>(file->size());
    document.bytes.reserve(size + kPadding);
    document.bytes.resize(size);
    MOESAIC_TRY(io::read_exactly(*file, document.path, 0, std::as_writable_bytes(std::span(document.bytes))));
  }
  document.loaded = true;
  return {};
}

Result<std::string> Documents::head(const Document& document, std::size_t bytes) const {
  if (document.loaded) return document.bytes.substr(0, bytes);
  MOESAIC_ASSIGN(const auto stream, io::open_stream(impl_->files, document.path));
  std::string out(bytes, '\0');
  MOESAIC_ASSIGN(const std::size_t read, stream->read(std::as_writable_bytes(std::span(out))));
  out.resize(read);
  return out;
}

}  // namespace moesaic::ingest
