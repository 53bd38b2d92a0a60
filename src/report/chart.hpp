// Charts as data: what a page draws. They know axes, units and numbers, not where those came from.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/json.hpp"

namespace moesaic::report {

/// An axis always has a name and a unit; that of ids is "id".
struct Axis {
  std::string name, unit;
  std::vector<std::string> labels = {};  ///< of the places 0, 1, ...; empty: numbers
  bool logarithmic = false;              ///< base 2; only of numbers above 0
};

/// NaN values are gaps.
struct Series {
  std::string name;
  std::vector<double> y;
  bool reference = false;  ///< drawn dashed and grey: what the others are compared with
};

/// Lines or bars over common places: y of every series has at.size() values.
struct Curves {
  std::string title, note;
  Axis x, y;
  std::vector<double> at;  ///< places on x; with x.labels the indexes 0, 1, ...
  std::vector<Series> series;
  bool bars = false;
  bool from_zero = true;  ///< the y axis starts at 0
};

/// How a value becomes a colour.
enum class Scale {
  kSequential,  ///< lowest to highest
  kUnit,        ///< 0 to 1
  kRatio        ///< around 1, logarithmic: half and double are as far from the middle
};

/// One choice of what a heat map shows.
struct View {
  std::string name;         ///< for the reader to choose by
  std::string value, unit;  ///< what a cell is
  Scale scale = Scale::kSequential;
  std::vector<double> values = {};  ///< [rows, columns]; NaN: nothing there
};

/// All views share rows and columns.
struct HeatMap {
  std::string title, note;
  Axis rows, columns;  ///< labels of both; empty labels: the index
  std::size_t row_count = 0, column_count = 0;
  std::vector<View> views;
  bool one_scale = false;  ///< all views up to the largest value of any: they are compared with each other
};

/// REQUIRES: sizes as above.
Json to_json(const Curves& chart);
/// Values are kept to 1/65534 of a view's largest, as base64 of 16-bit codes, so that a page of many layers,
/// experts and domains stays small. REQUIRES: sizes as above, values not below 0.
Json to_json(const HeatMap& chart);

}  // namespace moesaic::report
