// csv-counts: lines "layer,expert,count" under that header, one file a count row. Layers are model layers;
// what a file does not list is zero.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/limits.hpp"
#include "ingest/count_table.hpp"
#include "ingest/formats.hpp"

namespace moesaic::ingest {
namespace {

constexpr std::string_view kHeader = "layer,expert,count";
constexpr std::uint64_t kMaxCount = std::uint64_t{1} << 53;  // doubles hold every whole number up to here

constexpr std::size_t kFreeCells = 1u << 20, kCellsAnEntry = 100;

struct Entry {
  std::size_t layer = 0, expert = 0;
  double count = 0;
};

struct File {
  std::string path, domain;
  std::vector<Entry> entries;
};

std::string_view first_line(std::string_view text) {
  std::string_view line = text.substr(0, text.find('\n'));
  while (line.ends_with('\r') || line.ends_with(' ')) line.remove_suffix(1);
  return line;
}

bool takes(std::string_view name) { return name.ends_with(".csv"); }
bool detect(std::string_view, std::string_view head) { return first_line(head) == kHeader; }

Result<Entry> read_entry(std::string_view line, const std::string& where) {
  std::array<std::uint64_t, 3> numbers{};
  const char* at = line.data();
  const char* const end = at + line.size();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto [next, error] = std::from_chars(at, end, numbers[i]);
    if (error != std::errc() || (i == 2 ? next != end : next == end || *next != ',')) {
      return bad_input(fmt::format("{}: \"{}\", expected three whole numbers: layer,expert,count", where,
                                   line.substr(0, 64)));
    }
    at = next + (i == 2 ? 0 : 1);
  }
  if (numbers[0] >= limits::kMaxLayers || numbers[1] >= limits::kMaxExperts || numbers[2] > kMaxCount) {
    return bad_input(
        fmt::format("{}: layer {}, expert {}, count {}; expected below {}, below {} and at most 2^53", where,
                    numbers[0], numbers[1], numbers[2], limits::kMaxLayers, limits::kMaxExperts));
  }
  return Entry{numbers[0], numbers[1], static_cast<double>(numbers[2])};
}

Result<File> read_document(const Document& document) {
  File out{document.path, document.folder, {}};
  std::string_view text = document.bytes;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = first_line(text);
    text.remove_prefix(
        std::min(text.size(), text.find('\n') == text.npos ? text.size() : text.find('\n') + 1));
    const std::string where = fmt::format("{}: line {}", document.path, number);
    if (number == 1) {
      if (line != kHeader) {
        return bad_input(
            fmt::format("{}: \"{}\", expected the header {}", where, line.substr(0, 64), kHeader));
      }
    } else if (!line.empty()) {
      MOESAIC_ASSIGN(const Entry entry, read_entry(line, where));
      out.entries.push_back(entry);
    }
  }
  if (out.entries.empty()) return bad_input(fmt::format("{}: no counts under the header", document.path));
  return out;
}

Status write(const std::vector<File>& files, Output& output) {
  CountPlanes planes;
  for (const File& file : files) {
    for (const Entry& entry : file.entries) {
      planes.planes.push_back(LayerId(static_cast<std::uint16_t>(entry.layer)));
      planes.experts = std::max(planes.experts, entry.expert + 1);
    }
    std::sort(planes.planes.begin(), planes.planes.end());
    planes.planes.erase(std::unique(planes.planes.begin(), planes.planes.end()), planes.planes.end());
  }
  // A few entries must not claim a huge matrix.
  std::size_t entries = 0;
  for (const File& file : files) entries += file.entries.size();
  if (files.size() * planes.planes.size() * planes.experts > kFreeCells + kCellsAnEntry * entries) {
    return bad_input(
        fmt::format("{}: {} counts name {} layers x {} experts, expected most of the experts to be listed",
                    files.front().path, entries, planes.planes.size(), planes.experts));
  }
  if (const auto known = output.known_shape(files.front().path))
    planes.experts = std::max(planes.experts, known->experts);
  CountTable table;
  MOESAIC_TRY(table.expect(planes, files.front().path));
  std::vector<double> counts;
  std::vector<bool> seen;
  for (const File& file : files) {
    counts.assign(planes.planes.size() * planes.experts, 0.0);
    seen.assign(counts.size(), false);
    for (const Entry& entry : file.entries) {
      const auto plane = std::lower_bound(planes.planes.begin(), planes.planes.end(),
                                          LayerId(static_cast<std::uint16_t>(entry.layer))) -
                         planes.planes.begin();
      const std::size_t at = static_cast<std::size_t>(plane) * planes.experts + entry.expert;
      if (seen[at]) {
        return bad_input(fmt::format("{}: layer {}, expert {} twice, expected each once", file.path,
                                     entry.layer, entry.expert));
      }
      seen[at] = true;
      counts[at] = entry.count;
    }
    trace::CountRow row;
    MOESAIC_ASSIGN(row.domain, table.domain(file.domain));
    table.add(row, counts);
  }
  return table.write(output, files.front().path);
}

Status run(ImportContext& context) {
  std::vector<File> files;
  while (true) {
    MOESAIC_ASSIGN(std::optional<Document> document, context.documents.next());
    if (!document) break;
    MOESAIC_TRY(context.documents.load(*document));
    MOESAIC_ASSIGN(File file, read_document(*document));
    files.push_back(std::move(file));
  }
  if (files.empty()) return bad_input("no .csv file among the sources, so there is nothing to import");
  return write(files, context.output);
}

}  // namespace

constinit const Importer kCsvCounts{
    .name = "csv-counts",
    .what = "CSV of counts under the header layer,expert,count; one file a count row",
    .takes = takes,
    .detect = detect,
    .run = run,
};

}  // namespace moesaic::ingest
