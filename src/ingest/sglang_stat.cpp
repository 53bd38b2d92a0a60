// sglang-stat: the modes stat and stat_approx of SGLang's expert distribution recorder (sglang
// srt/eplb/expert_distribution.py): {rank, logical_count [buffer, L, E], ...}, summed over ranks already.
// Dense layers are rows of zeros. A buffer row becomes a count row and a window.
#include <fmt/format.h>

#include <algorithm>

#include "core/limits.hpp"
#include "ingest/count_table.hpp"
#include "ingest/expert_array.hpp"
#include "ingest/formats.hpp"
#include "ingest/sglang_dump.hpp"
#include "io/memory_file.hpp"

namespace moesaic::ingest {
namespace {

bool detect(std::string_view name, std::string_view head) {
  return takes_torch_file(name) && head.starts_with("PK") &&
         head.find("logical_count") != std::string_view::npos &&
         head.find("records") == std::string_view::npos;
}

class Reader {
 public:
  explicit Reader(ImportContext& context) : context_(context) {}

  Status run() {
    std::string first;
    for (;;) {
      MOESAIC_ASSIGN(std::optional<Document> document, context_.documents.next());
      if (!document) break;
      MOESAIC_TRY(context_.documents.load(*document));
      if (first.empty()) first = document->path;
      MOESAIC_TRY(add(*document));
    }
    return table_.write(context_.output, first);
  }

 private:
  Status add(const Document& document) {
    const std::string& where = document.path;
    MOESAIC_ASSIGN(const io::TorchFile file,
                   io::TorchFile::read(io::MemoryFile(io::as_bytes(document.bytes)), where));
    MOESAIC_ASSIGN(const io::PickleValue value, need(file.root(), "logical_count", where));
    // One dump without a buffer is a matrix.
    const bool matrix = value.as_tensor() != nullptr && value.as_tensor()->shape.size() == 2;
    MOESAIC_ASSIGN(const io::Array array,
                   need_tensor(file, file.root(), "logical_count", matrix ? 2 : 3, where));
    const std::size_t at = matrix ? 0 : 1;
    const std::uint64_t buffer = matrix ? 1 : array.shape[0];
    if (array.shape[at] > limits::kMaxLayers || array.shape[at + 1] > limits::kMaxExperts) {
      return bad_input(
          fmt::format("{}: logical_count of shape {}, expected [buffer, layers, experts] with at most {} "
                      "layers and {} experts",
                      where, array.shape_text(), limits::kMaxLayers, limits::kMaxExperts));
    }
    CountPlanes planes{.planes = {},
                       .layers_known = true,
                       .zero_is_dense = true,
                       .model_layers = static_cast<std::size_t>(array.shape[at]),
                       .experts = static_cast<std::size_t>(array.shape[at + 1])};
    for (std::size_t p = 0; p < planes.model_layers; ++p) {
      planes.planes.push_back(LayerId(static_cast<std::uint16_t>(p)));
    }
    MOESAIC_TRY(table_.expect(planes, where));
    MOESAIC_ASSIGN(const std::vector<double> counts, to_counts(array, false, where + ": logical_count"));
    const std::size_t width = planes.model_layers * planes.experts;
    std::uint64_t unused = 0;
    for (std::uint64_t b = 0; b < buffer; ++b) {
      const std::span<const double> row =
          std::span(counts).subspan(static_cast<std::size_t>(b) * width, width);
      if (std::ranges::all_of(row, [](double count) { return count == 0; })) {
        ++unused;
        continue;
      }
      trace::CountRow record;
      record.window = window_++;
      MOESAIC_ASSIGN(record.domain, table_.domain(document.folder));
      table_.add(record, row);
    }
    Anomalies& anomalies = context_.output.anomalies();
    if (unused > 0) {
      anomalies.add("dropped", "Rows of the ring buffer that were never used (all zero) were left out.",
                    unused);
    } else if (buffer > 1) {
      anomalies.add(
          "assumed",
          "Rows of a ring buffer that is full are taken in the order in which they lie there, which is not "
          "that of time if it went round.",
          buffer);
    }
    return {};
  }

  ImportContext& context_;
  CountTable table_;
  std::uint32_t window_ = 0;
};

Status run(ImportContext& context) { return Reader(context).run(); }

}  // namespace

constinit const Importer kSglangStat{
    .name = "sglang-stat",
    .what = "SGLang expert distribution recorder, modes stat and stat_approx (.pt)",
    .takes = takes_torch_file,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
