// A JSON value and its one canonical form: keys sorted, shortest doubles that read back equal, null for
// NaN and infinities. The parser is io/json.hpp: it needs bounds on foreign text.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace moesaic {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  Json() = default;  // null
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool> && std::is_signed_v<T>)
  Json(T value) : value_(static_cast<std::int64_t>(value)) {}
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool> && std::is_unsigned_v<T>)
  Json(T value) {  // one form a number: unsigned only where signed does not reach
    if (value <= static_cast<std::uint64_t>(INT64_MAX)) {
      value_ = static_cast<std::int64_t>(value);
    } else {
      value_ = static_cast<std::uint64_t>(value);
    }
  }
  Json(double value) : value_(value) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  const bool* as_bool() const { return std::get_if<bool>(&value_); }
  const std::string* as_string() const { return std::get_if<std::string>(&value_); }
  const Array* as_array() const { return std::get_if<Array>(&value_); }
  const Object* as_object() const { return std::get_if<Object>(&value_); }
  Array* as_array() { return std::get_if<Array>(&value_); }
  Object* as_object() { return std::get_if<Object>(&value_); }
  /// Any number as double; false for anything else.
  bool to_double(double& out) const;
  /// A whole number >= 0 (also one written as 3.0); false for anything else.
  bool to_uint(std::uint64_t& out) const;
  bool to_int(std::int64_t& out) const;

  /// Member `key` of an object, or nullptr (also when this is no object).
  const Json* find(std::string_view key) const;
  /// Member `key` for writing; a null value becomes an object first. REQUIRES: object or null.
  Json& operator[](std::string_view key);
  /// Appends to an array; a null value becomes an array first. REQUIRES: array or null.
  void push_back(Json value);

  /// Canonical text. `indent` < 0: one line; else pretty, but arrays of plain values stay on one line.
  std::string dump(int indent = -1) const;

  bool operator==(const Json&) const = default;

 private:
  void write(std::string& out, int indent, int depth) const;

  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object> value_;
};

/// The shortest decimal that reads back as `value`; "null" for NaN and infinities.
std::string shortest_double(double value);

}  // namespace moesaic
