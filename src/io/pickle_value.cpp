#include <fmt/format.h>

#include "io/pickle.hpp"
#include "io/pickle_nodes.hpp"

namespace moesaic::io {

using namespace pickle;

namespace {

template <class T>
const T* get(const PickleNodes* nodes, std::uint32_t node) {
  return std::get_if<T>(&nodes->nodes[node]);
}

}  // namespace

bool PickleValue::is_none() const { return get<NoneNode>(nodes_, node_) != nullptr; }

std::optional<bool> PickleValue::as_bool() const {
  const bool* value = get<bool>(nodes_, node_);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<std::int64_t> PickleValue::as_int() const {
  const auto* value = get<std::int64_t>(nodes_, node_);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<double> PickleValue::as_double() const {
  if (const auto value = as_int()) return static_cast<double>(*value);
  const auto* value = get<double>(nodes_, node_);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

const std::string* PickleValue::as_string() const { return get<std::string>(nodes_, node_); }

const std::string* PickleValue::as_bytes() const {
  const auto* value = get<BytesNode>(nodes_, node_);
  return value == nullptr ? nullptr : &value->bytes;
}

const PickleTensor* PickleValue::as_tensor() const { return get<PickleTensor>(nodes_, node_); }

bool PickleValue::is_sequence() const {
  return get<ListNode>(nodes_, node_) != nullptr || get<TupleNode>(nodes_, node_) != nullptr;
}

bool PickleValue::is_dict() const { return get<DictNode>(nodes_, node_) != nullptr; }

std::size_t PickleValue::size() const {
  if (const auto* list = get<ListNode>(nodes_, node_)) return list->items.size();
  if (const auto* tuple = get<TupleNode>(nodes_, node_)) return tuple->items.size();
  if (const auto* dict = get<DictNode>(nodes_, node_)) return dict->entries.size();
  return 0;
}

PickleValue PickleValue::at(std::size_t i) const {
  const auto* list = get<ListNode>(nodes_, node_);
  return PickleValue(nodes_,
                     list != nullptr ? list->items.at(i) : get<TupleNode>(nodes_, node_)->items.at(i));
}

std::pair<PickleValue, PickleValue> PickleValue::entry(std::size_t i) const {
  const auto& [key, value] = get<DictNode>(nodes_, node_)->entries.at(i);
  return {PickleValue(nodes_, key), PickleValue(nodes_, value)};
}

std::optional<PickleValue> PickleValue::find(std::string_view key) const {
  const auto* dict = get<DictNode>(nodes_, node_);
  if (dict == nullptr) return std::nullopt;
  for (std::size_t i = dict->entries.size(); i-- > 0;) {
    const auto* text = get<std::string>(nodes_, dict->entries[i].first);
    if (text != nullptr && *text == key) return PickleValue(nodes_, dict->entries[i].second);
  }
  return std::nullopt;
}

std::string PickleValue::description() const {
  if (is_none()) return "None";
  if (as_bool()) return "bool";
  if (as_int()) return "int";
  if (as_double()) return "float";
  if (as_string() != nullptr) return "str";
  if (as_bytes() != nullptr) return "bytes";
  if (is_sequence()) return fmt::format("list of {}", size());
  if (is_dict()) return fmt::format("dict of {}", size());
  if (as_tensor() != nullptr) return "tensor";
  return "torch storage";
}

}  // namespace moesaic::io
