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

}  // namespace

Result<ImportSummary> import_trace(io::FileSystem& files, std::span<const std::string> sources,
                                   const ImportOptions& options) {
  MOESAIC_TRY(check_output(files, options));
  MOESAIC_ASSIGN(const Importer* importer, choose_importer(files, sources, options.format));

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
  MOESAIC_ASSIGN(Documents documents, Documents::open(files, sources, std::move(filter)));
  Output output(files, options, fingerprint(*importer, documents, options), std::move(provenance));
  reported = &output;
  ImportContext context{options, documents, output};
  if (Status status = importer->run(context); !status) {
    if (status.error().kind == ErrorKind::kBadInput) output.abandon();
    return tl::unexpected(std::move(status).error());
  }
  ImportSummary summary;
  summary.format = importer->name;
  summary.documents = documents.given();
  output.summarise(summary);
  return summary;
}

}  // namespace moesaic::ingest
