#include "io/safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>

#include "core/limits.hpp"
#include "io/json.hpp"

namespace moesaic::io {
namespace {

std::optional<DType> parse_dtype(std::string_view text) {
  struct Known {
    std::string_view name;
    DType dtype;
  };
  constexpr Known kKnown[] = {{"BOOL", DType::kBool},   {"I8", DType::kInt8},       {"U8", DType::kUint8},
                              {"I16", DType::kInt16},   {"U16", DType::kUint16},    {"I32", DType::kInt32},
                              {"U32", DType::kUint32},  {"I64", DType::kInt64},     {"U64", DType::kUint64},
                              {"F16", DType::kFloat16}, {"BF16", DType::kBfloat16}, {"F32", DType::kFloat32},
                              {"F64", DType::kFloat64}};
  for (const Known& known : kKnown) {
    if (known.name == text) return known.dtype;
  }
  return std::nullopt;
}

Result<SafetensorsEntry> parse_entry(const std::string& name, const Json& json, std::uint64_t data_begin,
                                     std::uint64_t data_bytes, const std::string& where) {
  const std::string place = fmt::format("{}: tensor \"{}\"", where, name);
  const Json* dtype = json.find("dtype");
  const Json* shape = json.find("shape");
  const Json* offsets = json.find("data_offsets");
  SafetensorsEntry entry;
  entry.name = name;
  const auto known = dtype != nullptr && dtype->is_string() ? parse_dtype(*dtype->as_string()) : std::nullopt;
  if (!known) {
    return bad_input(fmt::format("{}: dtype {}, expected one of BOOL, I8-I64, U8-U64, F16, BF16, F32, F64",
                                 place, dtype == nullptr ? "is missing" : dtype->dump()));
  }
  entry.dtype = *known;
  if (shape == nullptr || !shape->is_array()) return bad_input(fmt::format("{}: has no shape", place));
  for (const Json& size : *shape->as_array()) {
    std::uint64_t value = 0;
    if (!size.to_uint(value))
      return bad_input(fmt::format("{}: shape {} is no list of sizes", place, shape->dump()));
    entry.shape.push_back(value);
  }
  const Json::Array* pair = offsets == nullptr ? nullptr : offsets->as_array();
  if (pair == nullptr || pair->size() != 2 || !(*pair)[0].to_uint(entry.begin) ||
      !(*pair)[1].to_uint(entry.end) || entry.begin > entry.end || entry.end > data_bytes) {
    return bad_input(fmt::format("{}: data_offsets {}, expected [begin, end] within {} bytes of data", place,
                                 offsets == nullptr ? "are missing" : offsets->dump(), data_bytes));
  }
  MOESAIC_ASSIGN(const std::uint64_t bytes,
                 checked_bytes(entry.shape, size_of(entry.dtype), data_bytes, place));
  if (bytes != entry.end - entry.begin) {
    return bad_input(fmt::format("{}: shape {} needs {} bytes, but data_offsets give {}", place,
                                 shape->dump(), bytes, entry.end - entry.begin));
  }
  entry.begin += data_begin;
  entry.end += data_begin;
  return entry;
}

}  // namespace

Result<Safetensors> Safetensors::open(const ReadFile& file, const std::string& where) {
  std::array<std::byte, 8> prefix{};
  MOESAIC_TRY(read_exactly(file, where, 0, prefix));
  std::uint64_t length = 0;
  std::memcpy(&length, prefix.data(), sizeof length);
  if (length > file.size() - prefix.size() || length > limits::kMaxConfigBytes) {
    return bad_input(
        fmt::format("{}: byte 0 says the header has {} bytes, expected at most {} of a file of {}; it "
                    "is no safetensors file or is cut short",
                    where, length, limits::kMaxConfigBytes, file.size()));
  }
  std::string text(static_cast<std::size_t>(length), '\0');
  MOESAIC_TRY(read_exactly(file, where, prefix.size(), std::as_writable_bytes(std::span(text))));
  MOESAIC_ASSIGN(const Json header, parse_json(text, where + ": header"));
  const Json::Object* tensors = header.as_object();
  if (tensors == nullptr) return bad_input(fmt::format("{}: the header is no JSON object", where));

  const std::uint64_t data_begin = prefix.size() + length;
  Safetensors out(file, where);
  for (const auto& [name, json] : *tensors) {
    if (name == "__metadata__") continue;
    MOESAIC_ASSIGN(SafetensorsEntry entry,
                   parse_entry(name, json, data_begin, file.size() - data_begin, where));
    out.entries_.push_back(std::move(entry));
  }

  std::vector<const SafetensorsEntry*> by_place;
  for (const SafetensorsEntry& entry : out.entries_) by_place.push_back(&entry);
  std::ranges::sort(by_place, [](const auto* a, const auto* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  std::uint64_t expected = data_begin;
  for (const SafetensorsEntry* entry : by_place) {
    if (entry->begin != expected) {
      return bad_input(
          fmt::format("{}: tensor \"{}\" begins at byte {}, expected {}: tensors must follow one another "
                      "without holes or overlaps",
                      where, entry->name, entry->begin, expected));
    }
    expected = entry->end;
  }
  if (expected != file.size()) {
    return bad_input(
        fmt::format("{}: {} bytes, but its tensors end at byte {}", where, file.size(), expected));
  }
  return out;
}

Result<Array> Safetensors::read(const SafetensorsEntry& entry) const {
  Array array{.dtype = entry.dtype, .item_bytes = size_of(entry.dtype), .shape = entry.shape, .data = {}};
  array.data.resize(static_cast<std::size_t>(entry.end - entry.begin));
  MOESAIC_TRY(read_exactly(*file_, where_, entry.begin, array.data));
  return array;
}

}  // namespace moesaic::io
