#include "report/chart.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/check.hpp"
#include "io/base64.hpp"

namespace moesaic::report {
namespace {

constexpr std::uint16_t kNoValue = 0xFFFF;
constexpr double kSteps = 0xFFFE;

Json axis_json(const Axis& axis) {
  return Json::Object{{"name", axis.name},
                      {"unit", axis.unit},
                      {"labels", Json::Array(axis.labels.begin(), axis.labels.end())},
                      {"log", axis.logarithmic}};
}

const char* scale_name(Scale scale) {
  return scale == Scale::kUnit ? "unit" : scale == Scale::kRatio ? "ratio" : "sequential";
}

double largest_of(const View& view) {
  double largest = 0;
  for (const double value : view.values) {
    MOESAIC_CHECK(!(value < 0));
    if (std::isfinite(value)) largest = std::max(largest, value);
  }
  return largest;
}

Json view_json(const View& view, double largest) {
  std::vector<std::byte> codes;
  codes.reserve(2 * view.values.size());
  for (const double value : view.values) {
    std::uint16_t code = kNoValue;
    if (!std::isnan(value)) {
      const double part = largest > 0 ? std::min(value, largest) / largest : 0;
      code = static_cast<std::uint16_t>(std::lround(part * kSteps));
    }
    codes.push_back(static_cast<std::byte>(code & 0xFF));
    codes.push_back(static_cast<std::byte>(code >> 8));
  }
  return Json::Object{{"name", view.name},
                      {"value", view.value},
                      {"unit", view.unit},
                      {"largest", largest},
                      {"codes", io::encode_base64(codes)},
                      {"scale", scale_name(view.scale)}};
}

}  // namespace

Json to_json(const Curves& chart) {
  Json::Array series;
  for (const Series& s : chart.series) {
    MOESAIC_CHECK(s.y.size() == chart.at.size());
    series.push_back(Json::Object{
        {"name", s.name}, {"reference", s.reference}, {"y", Json::Array(s.y.begin(), s.y.end())}});
  }
  return Json::Object{{"kind", "curves"},           {"title", chart.title},
                      {"note", chart.note},         {"x", axis_json(chart.x)},
                      {"y", axis_json(chart.y)},    {"at", Json::Array(chart.at.begin(), chart.at.end())},
                      {"bars", chart.bars},         {"from_zero", chart.from_zero},
                      {"series", std::move(series)}};
}

Json to_json(const HeatMap& chart) {
  Json::Array views;
  double largest_of_all = 0;
  for (const View& view : chart.views) largest_of_all = std::max(largest_of_all, largest_of(view));
  for (const View& view : chart.views) {
    MOESAIC_CHECK(view.values.size() == chart.row_count * chart.column_count);
    views.push_back(view_json(view, chart.one_scale ? largest_of_all : largest_of(view)));
  }
  return Json::Object{{"kind", "heat_map"},
                      {"title", chart.title},
                      {"note", chart.note},
                      {"rows", axis_json(chart.rows)},
                      {"columns", axis_json(chart.columns)},
                      {"row_count", chart.row_count},
                      {"column_count", chart.column_count},
                      {"views", std::move(views)}};
}

}  // namespace moesaic::report
