#include "artifact/fields.hpp"

#include <fmt/format.h>

#include <utility>

#include "core/limits.hpp"

namespace moesaic::artifact {

std::string shown(const Json& value) {
  if (value.is_object()) return "an object";
  if (const Json::Array* array = value.as_array()) return fmt::format("an array of {}", array->size());
  constexpr std::size_t kMax = 60;
  std::string text = value.dump();
  if (text.size() > kMax) text = text.substr(0, kMax) + "...";
  return text;
}

Fields::Fields(const Json& object, const std::string& where, std::string path)
    : object_(object), where_(where), path_(std::move(path)) {
  if (!object.is_object()) {
    error_ = fmt::format("{}: {}: found {}, expected an object", where_, path_.empty() ? "document" : path_,
                         shown(object));
  }
}

std::string Fields::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void Fields::fail(std::string_view key, const Json* found, std::string_view expected) {
  if (!ok()) return;
  error_ = fmt::format("{}: {}: found {}, expected {}", where_, path_of(key),
                       found == nullptr ? "nothing" : shown(*found), expected);
}

void Fields::fail(Error error) {
  if (ok()) error_ = std::move(error.message);
}

const Json* Fields::optional_member(std::string_view key) {
  known_.emplace(key);
  const Json* found = object_.find(key);
  return found == nullptr || found->is_null() ? nullptr : found;
}

const Json* Fields::member(std::string_view key) {
  known_.emplace(key);
  const Json* found = object_.find(key);
  if (found == nullptr) fail(key, nullptr, "this key");
  return ok() ? found : nullptr;
}

std::uint64_t Fields::whole(std::string_view key, std::uint64_t low, std::uint64_t high) {
  const Json* found = member(key);
  std::uint64_t value = 0;
  if (found == nullptr) return low;
  if (found->to_uint(value) && value >= low && value <= high) return value;
  fail(key, found, fmt::format("a whole number from {} to {}", low, high));
  return low;
}

double Fields::number(std::string_view key, double low, double high) {
  const Json* found = member(key);
  double value = 0;
  if (found == nullptr) return low;
  if (found->to_double(value) && value >= low && value <= high) return value;
  fail(key, found, fmt::format("a number from {} to {}", low, high));
  return low;
}

bool Fields::boolean(std::string_view key) {
  const Json* found = member(key);
  if (found == nullptr) return false;
  if (const bool* value = found->as_bool()) return *value;
  fail(key, found, "true or false");
  return false;
}

std::string Fields::text(std::string_view key) {
  const Json* found = member(key);
  if (found == nullptr) return {};
  const std::string* value = found->as_string();
  if (value != nullptr && value->size() <= limits::kMaxStringBytes) return *value;
  fail(key, found, fmt::format("a string of at most {} bytes", limits::kMaxStringBytes));
  return {};
}

Json Fields::object(std::string_view key) {
  const Json* found = member(key);
  if (found != nullptr && found->is_object()) return *found;
  if (found != nullptr) fail(key, found, "an object");
  return Json::Object{};
}

const Json::Array* Fields::array(std::string_view key, std::size_t count, bool exact) {
  const Json* found = member(key);
  if (found == nullptr) return nullptr;
  const Json::Array* value = found->as_array();
  if (value != nullptr && (exact ? value->size() == count : value->size() <= count)) return value;
  fail(key, found, fmt::format("an array of {}{} items", exact ? "" : "at most ", count));
  return nullptr;
}

std::vector<std::uint64_t> Fields::wholes(std::string_view key, std::size_t max, std::uint64_t low,
                                          std::uint64_t high) {
  std::vector<std::uint64_t> out;
  const Json::Array* items = array(key, max, false);
  if (items == nullptr) return out;
  for (std::size_t i = 0; i < items->size(); ++i) {
    std::uint64_t value = 0;
    if (!(*items)[i].to_uint(value) || value < low || value > high) {
      fail(fmt::format("{}[{}]", key, i), &(*items)[i],
           fmt::format("a whole number from {} to {}", low, high));
      return {};
    }
    out.push_back(value);
  }
  return out;
}

std::vector<std::string> Fields::texts(std::string_view key, std::size_t max) {
  std::vector<std::string> out;
  const Json::Array* items = array(key, max, false);
  if (items == nullptr) return out;
  for (std::size_t i = 0; i < items->size(); ++i) {
    const std::string* value = (*items)[i].as_string();
    if (value == nullptr || value->size() > limits::kMaxStringBytes) {
      fail(fmt::format("{}[{}]", key, i), &(*items)[i],
           fmt::format("a string of at most {} bytes", limits::kMaxStringBytes));
      return {};
    }
    out.push_back(*value);
  }
  return out;
}

void Fields::matrix(std::string_view key, std::size_t rows, std::size_t columns, std::string_view expected,
                    const std::function<bool(const Json&)>& take) {
  const Json::Array* outer = array(key, rows);
  if (outer == nullptr) return;
  for (std::size_t r = 0; r < rows; ++r) {
    const Json::Array* row = (*outer)[r].as_array();
    if (row == nullptr || row->size() != columns) {
      return fail(fmt::format("{}[{}]", key, r), &(*outer)[r], fmt::format("an array of {} items", columns));
    }
    for (std::size_t c = 0; c < columns; ++c) {
      if (!take((*row)[c])) return fail(fmt::format("{}[{}][{}]", key, r, c), &(*row)[c], expected);
    }
  }
}

void Fields::schema(std::string_view expected) {
  const std::string found = text("schema");
  if (ok() && found != expected) {
    fail(Error{
        ErrorKind::kBadInput,
        fmt::format("{}: schema: found \"{}\", expected \"{}\"; write the file again with this version, or "
                    "read it with the version that wrote it",
                    where_, found, expected)});
  }
}

Status Fields::first_error() const {
  if (!ok()) return bad_input(error_);
  return {};
}

Status Fields::finish() {
  MOESAIC_TRY(first_error());
  for (const auto& [key, value] : *object_.as_object()) {
    if (!known_.contains(key)) {
      return bad_input(
          fmt::format("{}: {}: unknown key; remove it, or read the file with the version that wrote it",
                      where_, path_of(key)));
    }
  }
  return {};
}

}  // namespace moesaic::artifact
