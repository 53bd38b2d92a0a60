// The files of an import as one ordered stream: sources in the order given, folders walked bytewise,
// packed files and archives (io/archive.hpp) looked into, so that importers see plain documents only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "io/files.hpp"

namespace moesaic::ingest {

struct Document {
  std::string path;        ///< for messages: the file, or "<archive>:<member>"
  std::string name;        ///< base name without a packing suffix: "17.json" for "x/17.json.xz"
  std::string folder;      ///< base name of the folder it lies in (an archive is a folder); "" if none
  std::size_t source = 0;  ///< position among the sources
  bool named = false;      ///< the source is this file itself, not a folder or archive around it
  std::uint64_t size = 0;  ///< bytes unpacked; of a packed file an estimate until it is loaded
  bool loaded = false;     ///< `bytes` are there
  std::string bytes;       ///< unpacked; at least kPadding bytes of capacity lie after the end
};

/// Spare capacity after Document::bytes, which the JSON parser may read but never uses.
inline constexpr std::size_t kPadding = 64;

/// Which documents a stream gives; all by default.
struct DocumentFilter {
  std::string format;                              ///< for messages
  bool (*takes)(std::string_view name) = nullptr;  ///< by Document::name
  std::function<void(const Document&)> left_out;   ///< told of each document passed over
};

class Documents {
 public:
  /// Walks the sources' names (not their content); names that start with "." are passed over. `files`
  /// outlives this. Errors: a source that does not exist, no source at all.
  static Result<Documents> open(io::FileSystem& files, std::span<const std::string> sources,
                                DocumentFilter filter = {});
  Documents(Documents&&) noexcept;
  Documents& operator=(Documents&&) noexcept;
  ~Documents();

  /// Begins again at the first document with another filter, on the names that were walked.
  void restart(DocumentFilter filter);

  /// The next document, or nothing after the last. Members of archives come loaded; files do not, so that
  /// load() can run on many threads. Errors: damaged or oversized archives, paths that leave them,
  /// a source that is itself a file which the filter does not take.
  Result<std::optional<Document>> next();

  /// Reads (and unpacks) `document` unless it is loaded; memory that document.bytes has is used. Thread-safe.
  /// Errors: unreadable, damaged, or larger than limits::kMaxDocumentBytes.
  Status load(Document& document) const;

  /// The first bytes (at most `bytes`) of `document` unpacked, without loading it.
  Result<std::string> head(const Document& document, std::size_t bytes) const;

  std::uint64_t given() const;  ///< documents that next() has returned
  /// Whether a source is an archive or holds one: then documents come loaded, and only once.
  bool has_archives() const;
  /// A hash over names and sizes of the files behind the sources, in hex.
  std::string digest() const;

 private:
  struct Impl;
  explicit Documents(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// "abstract_algebra.tar.xz" -> "abstract_algebra"; "17.json.zst" -> "17.json". Other names are kept.
std::string without_packing(std::string_view name);
/// "17.json" -> "17".
std::string stem(std::string_view name);

}  // namespace moesaic::ingest
