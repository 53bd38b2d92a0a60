// A page a person opens: one HTML file with its charts, styles and numbers inside, no network needed.
// The template (web/) is built by npm at build time and lies in the program.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"
#include "io/files.hpp"
#include "report/chart.hpp"
#include "report/table.hpp"

namespace moesaic::report {

struct PageTable {
  std::string title, note;
  Table table;
};

/// A finding in plain words. The verdict is a word or two that stands out ("pays"), or empty.
struct Finding {
  std::string title, verdict, text;
  enum class Mood { kNeutral, kGood, kBad } mood = Mood::kNeutral;
};

struct Section {
  std::string title;
  std::vector<std::string> paragraphs;
  std::vector<std::variant<Curves, HeatMap, PageTable>> items = {};
};

struct Page {
  std::string title, subtitle;
  std::vector<std::pair<std::string, std::string>> facts;  ///< name and value, shown under the title
  std::vector<Finding> summary;
  std::vector<Section> sections;
  std::vector<std::string> notes;  ///< what the data could not tell; at the end
};

/// What the template reads; "schema": "moesaic.page/1".
Json to_json(const Page& page);

/// The data as text that cannot end the <script> element it is put in, whatever strings it holds.
std::string script_safe(const Json& data);

/// The whole document. Errors: environment when this build holds no template.
Result<std::string> render(const Page& page);

/// As render(), written beside and renamed. An existing file is refused unless `force`.
Status write(const Page& page, io::FileSystem& files, const std::string& path, bool force);

/// Whether this build can render at all, to be asked before long work.
Status can_render();

}  // namespace moesaic::report
