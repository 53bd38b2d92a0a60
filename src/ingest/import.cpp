#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "ingest/importer.hpp"
#include "ingest/json_text.hpp"

namespace moesaic::ingest {
namespace {

/// Documents that are looked at before an unknown format is given up.
constexpr std::size_t kDocumentsToTry = 64;

std::string format_list() {
  std::vector<std::string_view> names;
  for (const Importer* importer : importers()) names.push_back(importer->name);
  return fmt::format("{}", fmt::join(names, ", "));
}

/// The centroid JSON of casys-kaist/ELDR: model, algo, k, L, e, variant, layer_mask, ..., centroids.
bool is_eldr_centroids(std::string_view head) {
  return JsonStart(head).take('{') && has_key(head, "layer_mask") &&
         (has_key(head, "centroids") || has_key(head, "sig_dtype") || has_key(head, "sig_idf"));
}

/// The importer whose format the first documents are in.
Result<const Importer*> recognise(Documents& documents, std::span<const std::string> sources) {
  std::string first;
  for (std::size_t tried = 0; tried < kDocumentsToTry; ++tried) {
    MOESAIC_ASSIGN(const std::optional<Document> document, documents.next());
    if (!document) break;
    if (first.empty()) first = document->path;
    MOESAIC_ASSIGN(const std::string head, documents.head(*document, kHeadBytes));
    if (is_eldr_centroids(head)) {
      return bad_input(
          fmt::format("{}: ELDR centroids, which are a router's state and no trace; they belong to "
                      "`moesaic gateway`, as its assigner",
                      document->path));
    }
    for (const Importer* importer : importers()) {
      if (importer->takes(document->name) && importer->detect(document->name, head)) return importer;
    }
  }
  if (first.empty()) return bad_input(fmt::format("{}: no files to import there", fmt::join(sources, ", ")));
  return bad_input(
      fmt::format("{}: in no format known here; name it with --format, one of {}", first, format_list()));
}

Status check_output(io::FileSystem& files, const ImportOptions& options) {
  if (options.output.empty()) return bad_input("no output given; name the store to write with -o");
  MOESAIC_ASSIGN(const io::FileStatus status, files.status(options.output));
  if (status.exists && !options.force) {
    return bad_input(
        fmt::format("{}: exists already; choose another output or replace it with --force", options.output));
  }
  return {};
}

struct Sources {
  const Importer* importer;
  Documents documents;  ///< walked once; those looked at are to be read again
};

Result<Sources> open_sources(io::FileSystem& files, std::span<const std::string> sources,
                             const ImportOptions& options) {
  MOESAIC_TRY(check_output(files, options));
  const Importer* importer = nullptr;
  if (!options.format.empty()) {
    importer = find_importer(options.format);
    if (importer == nullptr) {
      return bad_input(
          fmt::format("--format {}: no such format; expected one of {}", options.format, format_list()));
    }
  }
  MOESAIC_ASSIGN(Documents documents, Documents::open(files, sources));
  if (importer == nullptr) {
    MOESAIC_ASSIGN(importer, recognise(documents, sources));
  }
  return Sources{importer, std::move(documents)};
}

std::string fingerprint(const Importer& importer, const Documents& documents, const ImportOptions& options) {
  std::string shape;
  if (options.shape) {
    shape = fmt::format("{}:{}:{}:{}:{}", options.shape->model, options.shape->model_layers,
                        options.shape->layers.size(), options.shape->experts, options.shape->top_k);
  }
  return fmt::format("import/1 format={} files={} domain={} key={} axes={} shape={}", importer.name,
                     documents.digest(), options.domain, options.domain_key, options.axes, shape);
}

}  // namespace

Result<ImportSummary> import_trace(io::FileSystem& files, std::span<const std::string> sources,
                                   const ImportOptions& given) {
  comm::Comm& comm = *given.comm;
  Result<Sources> opened = open_sources(files, sources, given);
  MOESAIC_TRY(comm::agree(comm, opened));
  const Importer* const importer = opened->importer;
  Documents& documents = opened->documents;

  trace::Provenance provenance;
  provenance.format = importer->name;
  for (const std::string& source : sources) provenance.sources.push_back(io::base_name(source));

  Output* reported = nullptr;
  std::string left_out;  // the sentence about files passed over, with the first one's name
  documents.restart({.format = std::string(importer->name),
                     .takes = importer->takes,
                     .left_out = [&](const Document& document) {
                       if (left_out.empty()) {
                         left_out =
                             fmt::format("Files that are not of format {} were left out, such as \"{}\".",
                                         importer->name, document.name);
                       }
                       reported->anomalies().add("dropped", left_out);
                     }});
  const std::string print = fingerprint(*importer, documents, given);
  // Or their shares would not fit together.
  MOESAIC_TRY(comm::same_everywhere(comm, print, "set of sources"));

  ImportOptions options = given;
  if (!importer->shared) options.comm = &comm::one_rank();
  Output output(files, options, print, std::move(provenance));
  reported = &output;
  ImportContext context{options, documents, output};
  const bool takes_part = importer->shared || comm.is_root();
  const Status status = comm::agree(comm, takes_part ? importer->run(context) : Status());
  if (!status) {
    if (takes_part && status.error().kind == ErrorKind::kBadInput) output.abandon();
    return tl::unexpected(status.error());
  }
  ImportSummary summary;
  summary.format = importer->name;
  summary.shared = importer->shared;
  summary.documents = documents.given();
  output.summarise(summary);
  return summary;
}

}  // namespace moesaic::ingest
