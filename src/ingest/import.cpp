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

Result<const Importer*> choose_importer(io::FileSystem& files, std::span<const std::string> sources,
                                        const std::string& format) {
  if (!format.empty()) {
    if (const Importer* importer = find_importer(format)) return importer;
    return bad_input(fmt::format("--format {}: no such format; expected one of {}", format, format_list()));
  }
  MOESAIC_ASSIGN(Documents documents, Documents::open(files, sources));
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

std::string fingerprint(const Importer& importer, const Documents& documents, const ImportOptions& options) {
  std::string shape;
  if (options.shape) {
    shape = fmt::format("{}:{}:{}:{}:{}", options.shape->model, options.shape->model_layers,
                        options.shape->layers.size(), options.shape->experts, options.shape->top_k);
  }
  return fmt::format("import/1 format={} files={} domain={} key={} axes={} shape={}", importer.name,
                     documents.digest(), options.domain, options.domain_key, options.axes, shape);
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

/// All ranks must see the same files, or their shares would not fit together. Collective.
Status check_same_files(comm::Comm& comm, const std::string& fingerprint) {
  MOESAIC_ASSIGN(const std::vector<comm::Bytes> all, comm.all_gather(io::as_bytes(fingerprint)));
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    return environment_error(fmt::format(
        "rank {} sees other sources than rank 0; give paths that hold the same files on every node", rank));
  }
  return {};
}

}  // namespace

Result<ImportSummary> import_trace(io::FileSystem& files, std::span<const std::string> sources,
                                   const ImportOptions& given) {
  comm::Comm& comm = *given.comm;
  const auto choose = [&]() -> Result<const Importer*> {
    MOESAIC_TRY(check_output(files, given));
    return choose_importer(files, sources, given.format);
  };
  const Result<const Importer*> chosen = choose();
  MOESAIC_TRY(comm::agree(comm, chosen));
  const Importer* const importer = *chosen;

  trace::Provenance provenance;
  provenance.format = importer->name;
  for (const std::string& source : sources) provenance.sources.push_back(io::base_name(source));

  Output* reported = nullptr;
  std::string left_out;  // the sentence about files passed over, with the first one's name
  DocumentFilter filter{.format = std::string(importer->name),
                        .takes = importer->takes,
                        .left_out = [&](const Document& document) {
                          if (left_out.empty()) {
                            left_out =
                                fmt::format("Files that are not of format {} were left out, such as \"{}\".",
                                            importer->name, document.name);
                          }
                          reported->anomalies().add("dropped", left_out);
                        }};
  Result<Documents> documents = Documents::open(files, sources, std::move(filter));
  MOESAIC_TRY(comm::agree(comm, documents));
  const std::string print = fingerprint(*importer, *documents, given);
  MOESAIC_TRY(check_same_files(comm, print));

  ImportOptions options = given;
  if (!importer->shared) options.comm = &comm::one_rank();
  Output output(files, options, print, std::move(provenance));
  reported = &output;
  ImportContext context{options, *documents, output};
  const bool takes_part = importer->shared || comm.is_root();
  const Status status = comm::agree(comm, takes_part ? importer->run(context) : Status());
  if (!status) {
    if (takes_part && status.error().kind == ErrorKind::kBadInput) output.abandon();
    return tl::unexpected(status.error());
  }
  ImportSummary summary;
  summary.format = importer->name;
  summary.shared = importer->shared;
  summary.documents = documents->given();
  output.summarise(summary);
  return summary;
}

}  // namespace moesaic::ingest
