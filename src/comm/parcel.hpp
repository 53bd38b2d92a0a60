// Numbers and vectors of numbers as bytes, for messages between ranks of one build on machines of one byte
// order. Not a file format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "comm/comm.hpp"
#include "core/check.hpp"

namespace moesaic::comm {

class Packer {
 public:
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void put(const T& value) {
    append(&value, sizeof value);
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void put_span(std::span<const T> values) {
    put(std::uint64_t{values.size()});
    append(values.data(), values.size_bytes());
  }
  template <class T>
  void put(const std::vector<T>& values) {
    put_span(std::span<const T>(values));
  }

  void put_text(std::string_view text) { put_span(std::span<const char>(text)); }

  Bytes take() { return std::move(bytes_); }

 private:
  void append(const void* from, std::size_t size) {
    if (size == 0) return;
    const std::size_t at = bytes_.size();
    bytes_.resize(at + size);
    std::memcpy(bytes_.data() + at, from, size);
  }
  Bytes bytes_;
};

/// Reads what Packer wrote, in the same order. A short message is a bug of ours: checked.
class Unpacker {
 public:
  explicit Unpacker(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
    requires std::is_trivially_copyable_v<T>
  T get() {
    T value;
    copy(&value, sizeof value);
    return value;
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  std::vector<T> get_vector() {
    const auto count = get<std::uint64_t>();
    MOESAIC_CHECK(count <= bytes_.size() / sizeof(T));
    std::vector<T> values(count);
    copy(values.data(), count * sizeof(T));
    return values;
  }
  std::string get_text() {
    const auto size = get<std::uint64_t>();
    MOESAIC_CHECK(size <= bytes_.size());
    std::string text(size, '\0');
    copy(text.data(), size);
    return text;
  }
  /// What put() wrote, into a value of the same type.
  template <class T>
  void get(T& value) {
    value = get<T>();
  }
  template <class T>
  void get(std::vector<T>& values) {
    values = get_vector<T>();
  }
  bool done() const { return bytes_.empty(); }
  std::span<const std::byte> rest() const { return bytes_; }

 private:
  void copy(void* to, std::size_t size) {
    MOESAIC_CHECK(size <= bytes_.size());
    if (size > 0) std::memcpy(to, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
  }
  std::span<const std::byte> bytes_;
};

}  // namespace moesaic::comm
