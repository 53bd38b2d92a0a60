#include "core/json.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include "core/check.hpp"

namespace moesaic {
namespace {

void write_string(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += kHex[(c >> 4) & 15];
          out += kHex[c & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

template <class T>
void write_number(std::string& out, T value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  out.append(buffer.data(), end);
}

void new_line(std::string& out, int indent, int depth) {
  out += '\n';
  out.append(static_cast<std::size_t>(indent) * static_cast<std::size_t>(depth), ' ');
}

}  // namespace

std::string shortest_double(double value) {
  if (!std::isfinite(value)) return "null";
  std::string out;
  write_number(out, value);
  return out;
}

bool Json::to_double(double& out) const {
  if (const auto* d = std::get_if<double>(&value_)) return out = *d, true;
  if (const auto* i = std::get_if<std::int64_t>(&value_)) return out = static_cast<double>(*i), true;
  if (const auto* u = std::get_if<std::uint64_t>(&value_)) return out = static_cast<double>(*u), true;
  return false;
}

bool Json::to_uint(std::uint64_t& out) const {
  if (const auto* u = std::get_if<std::uint64_t>(&value_)) return out = *u, true;
  if (const auto* i = std::get_if<std::int64_t>(&value_)) {
    return *i >= 0 && (out = static_cast<std::uint64_t>(*i), true);
  }
  if (const auto* d = std::get_if<double>(&value_)) {
    if (!(*d >= 0 && *d < 0x1p64) || *d != std::floor(*d)) return false;
    return out = static_cast<std::uint64_t>(*d), true;
  }
  return false;
}

bool Json::to_int(std::int64_t& out) const {
  if (const auto* i = std::get_if<std::int64_t>(&value_)) return out = *i, true;
  if (const auto* u = std::get_if<std::uint64_t>(&value_)) {
    return *u <= 0x7FFFFFFFFFFFFFFFu && (out = static_cast<std::int64_t>(*u), true);
  }
  if (const auto* d = std::get_if<double>(&value_)) {
    if (!(*d >= -0x1p63 && *d < 0x1p63) || *d != std::floor(*d)) return false;
    return out = static_cast<std::int64_t>(*d), true;
  }
  return false;
}

const Json* Json::find(std::string_view key) const {
  const Object* object = as_object();
  if (object == nullptr) return nullptr;
  const auto it = object->find(key);
  return it == object->end() ? nullptr : &it->second;
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = Object{};
  Object* object = as_object();
  MOESAIC_CHECK(object != nullptr);
  const auto it = object->find(key);
  return it != object->end() ? it->second : object->emplace(std::string(key), Json()).first->second;
}

void Json::push_back(Json value) {
  if (is_null()) value_ = Array{};
  Array* array = as_array();
  MOESAIC_CHECK(array != nullptr);
  array->push_back(std::move(value));
}

std::string Json::dump(int indent) const {
  std::string out;
  write(out, indent, 0);
  return out;
}

void Json::write(std::string& out, int indent, int depth) const {
  if (is_null()) {
    out += "null";
  } else if (const bool* b = as_bool()) {
    out += *b ? "true" : "false";
  } else if (const auto* i = std::get_if<std::int64_t>(&value_)) {
    write_number(out, *i);
  } else if (const auto* u = std::get_if<std::uint64_t>(&value_)) {
    write_number(out, *u);
  } else if (const auto* d = std::get_if<double>(&value_)) {
    out += shortest_double(*d);
  } else if (const std::string* text = as_string()) {
    write_string(out, *text);
  } else if (const Array* array = as_array()) {
    bool flat = indent < 0;
    if (!flat) {
      flat = true;
      for (const Json& item : *array) flat = flat && !item.is_array() && !item.is_object();
    }
    out += '[';
    bool first = true;
    for (const Json& item : *array) {
      if (!first) out += flat && indent >= 0 ? ", " : ",";
      first = false;
      if (!flat) new_line(out, indent, depth + 1);
      item.write(out, indent, depth + 1);
    }
    if (!flat) new_line(out, indent, depth);
    out += ']';
  } else {
    const Object& object = *as_object();
    out += '{';
    bool first = true;
    for (const auto& [key, item] : object) {
      if (!first) out += ',';
      first = false;
      if (indent >= 0) new_line(out, indent, depth + 1);
      write_string(out, key);
      out += indent >= 0 ? ": " : ":";
      item.write(out, indent, depth + 1);
    }
    if (indent >= 0 && !object.empty()) new_line(out, indent, depth);
    out += '}';
  }
}

}  // namespace moesaic
