// A Python pickle read as data: nothing it names is ever run. Protocols 2 to 5 (Python's pickletools is
// the reference), as far as they hold None, bool, int, float, str, bytes, list, tuple, dict,
// collections.OrderedDict and torch tensors (torch._utils._rebuild_tensor_v2 over storages named by
// persistent ids). Any other global is an error that names it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "io/array.hpp"

namespace moesaic::io {

/// A tensor as the pickle describes it: a strided view of a storage that lies elsewhere.
struct PickleTensor {
  DType dtype = DType::kFloat32;
  std::string storage;                        ///< key of the storage
  std::uint64_t storage_count = 0;            ///< elements the pickle says the storage has
  std::uint64_t offset = 0;                   ///< elements
  std::vector<std::uint64_t> shape, strides;  ///< elements
};

class Pickle;
struct PickleNodes;

/// A value inside a Pickle, which must outlive it. Values are shared where the pickle shares them; cycles
/// are possible, so a recursion over values needs its own bound.
class PickleValue {
 public:
  bool is_none() const;
  std::optional<bool> as_bool() const;
  std::optional<std::int64_t> as_int() const;  ///< not for bool
  std::optional<double> as_double() const;     ///< int or float
  const std::string* as_string() const;        ///< str
  const std::string* as_bytes() const;
  const PickleTensor* as_tensor() const;
  bool is_sequence() const;  ///< list or tuple
  bool is_dict() const;
  /// Items of a list or tuple, entries of a dict, else 0.
  std::size_t size() const;
  /// Item i of a list or tuple. REQUIRES: i < size().
  PickleValue at(std::size_t i) const;
  /// Entry i of a dict, in the order of insertion. REQUIRES: i < size().
  std::pair<PickleValue, PickleValue> entry(std::size_t i) const;
  /// The value of a string key of a dict (the last one when given twice), or nothing.
  std::optional<PickleValue> find(std::string_view key) const;
  /// "list of 3", "int", ...: for messages.
  std::string description() const;

 private:
  friend class Pickle;
  PickleValue(const PickleNodes* nodes, std::uint32_t node) : nodes_(nodes), node_(node) {}
  const PickleNodes* nodes_;
  std::uint32_t node_;
};

class Pickle {
 public:
  /// Errors (bad input) name `where` and the byte: a cut pickle, an opcode or global that is not known, a
  /// length beyond the end, nesting beyond limits::kMaxJsonDepth, a tensor whose view leaves its storage.
  /// Memory is O(bytes). O(bytes).
  static Result<Pickle> parse(std::span<const std::byte> bytes, const std::string& where);
  Pickle(Pickle&&) noexcept;
  Pickle& operator=(Pickle&&) noexcept;
  ~Pickle();

  PickleValue root() const;
  /// Every tensor the pickle makes, also those root() does not lead to.
  std::vector<const PickleTensor*> tensors() const;

 private:
  friend class PickleMachine;
  explicit Pickle(std::unique_ptr<PickleNodes> nodes);
  std::unique_ptr<PickleNodes> nodes_;
};

}  // namespace moesaic::io
