#include "report/page.hpp"

#include "core/check.hpp"
#include "report/page_template.hpp"

namespace moesaic::report {
namespace {

Json strings(const std::vector<std::string>& values) { return Json::Array(values.begin(), values.end()); }

Json item_json(const PageTable& item) {
  Json::Array rows;
  for (const auto& row : item.table.rows()) rows.push_back(strings(row));
  return Json::Object{{"kind", "table"},
                      {"title", item.title},
                      {"note", item.note},
                      {"headers", strings(item.table.headers())},
                      {"rows", std::move(rows)}};
}
Json item_json(const Curves& item) { return to_json(item); }
Json item_json(const HeatMap& item) { return to_json(item); }

const char* mood_name(Finding::Mood mood) {
  return mood == Finding::Mood::kGood ? "good" : mood == Finding::Mood::kBad ? "bad" : "neutral";
}

}  // namespace

Json to_json(const Page& page) {
  Json::Array facts, summary, sections;
  for (const auto& [name, value] : page.facts)
    facts.push_back(Json::Object{{"name", name}, {"value", value}});
  for (const Finding& finding : page.summary)
    summary.push_back(Json::Object{{"title", finding.title},
                                   {"verdict", finding.verdict},
                                   {"mood", mood_name(finding.mood)},
                                   {"text", finding.text}});
  for (const Section& section : page.sections) {
    Json::Array items;
    for (const auto& item : section.items)
      items.push_back(std::visit([](const auto& i) { return item_json(i); }, item));
    sections.push_back(Json::Object{
        {"title", section.title}, {"paragraphs", strings(section.paragraphs)}, {"items", std::move(items)}});
  }
  return Json::Object{{"schema", "moesaic.page/1"},    {"title", page.title},
                      {"subtitle", page.subtitle},     {"facts", std::move(facts)},
                      {"summary", std::move(summary)}, {"sections", std::move(sections)},
                      {"notes", strings(page.notes)}};
}

std::string script_safe(const Json& data) {
  std::string out;
  for (const char c : data.dump()) {
    switch (c) {  // only strings hold these, where the escape means the same
      case '<':
        out += "\\u003c";
        break;
      case '>':
        out += "\\u003e";
        break;
      case '&':
        out += "\\u0026";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Status can_render() {
  if (!page_template().empty()) return {};
  return environment_error(
      "this build of moesaic holds no page template, so no HTML can be written: npm was missing or failed "
      "when it was built; install nodejs and npm (18 or newer), run cmake again and build, or use --json");
}

Result<std::string> render(const Page& page) {
  MOESAIC_TRY(can_render());
  const std::string_view all = page_template();
  const std::size_t at = all.find(kDataMark);
  MOESAIC_CHECK(at != std::string_view::npos);
  std::string out(all.substr(0, at));
  out += script_safe(to_json(page));
  out += all.substr(at + kDataMark.size());
  return out;
}

Status write(const Page& page, io::FileSystem& files, const std::string& path, bool force) {
  MOESAIC_ASSIGN(const std::string text, render(page));
  return io::write_file_atomically(files, path, text, force);
}

}  // namespace moesaic::report
