#include "io/pickle.hpp"

#include <fmt/format.h>

#include <bit>
#include <unordered_map>

#include "core/limits.hpp"
#include "io/pickle_nodes.hpp"

namespace moesaic::io {

using namespace pickle;

namespace {

constexpr std::string_view kRebuildTensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kOrderedDict = "collections.OrderedDict";

std::optional<DType> storage_dtype(std::string_view global) {
  struct Known {
    std::string_view name;
    DType dtype;
  };
  constexpr Known kKnown[] = {
      {"torch.BoolStorage", DType::kBool},     {"torch.ByteStorage", DType::kUint8},
      {"torch.CharStorage", DType::kInt8},     {"torch.ShortStorage", DType::kInt16},
      {"torch.IntStorage", DType::kInt32},     {"torch.LongStorage", DType::kInt64},
      {"torch.HalfStorage", DType::kFloat16},  {"torch.BFloat16Storage", DType::kBfloat16},
      {"torch.FloatStorage", DType::kFloat32}, {"torch.DoubleStorage", DType::kFloat64}};
  for (const Known& known : kKnown) {
    if (known.name == global) return known.dtype;
  }
  return std::nullopt;
}

}  // namespace

/// The stack machine of Python's pickle module. Every opcode makes at most one node and takes at least one
/// byte, so memory is bounded by the input; nodes refer to each other by index, so nothing recurses.
class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> bytes, const std::string& where)
      : bytes_(bytes), where_(where), nodes_(std::make_unique<PickleNodes>()) {}

  Result<Pickle> run() {
    for (;;) {
      opcode_at_ = at_;
      MOESAIC_ASSIGN(const std::uint64_t opcode, number(1));
      if (opcode == '.') break;
      MOESAIC_TRY(step(static_cast<char>(opcode)));
    }
    if (stack_.size() != 1 || !marks_.empty()) return fail("the end is reached with an unfinished value");
    if (at_ != bytes_.size()) return fail(fmt::format("{} bytes follow the end", bytes_.size() - at_));
    if (std::holds_alternative<GlobalNode>(node(stack_[0]))) return fail("the value is a bare global");
    nodes_->root = stack_[0];
    return Pickle(std::move(nodes_));
  }

 private:
  // Reading.
  tl::unexpected<Error> fail(std::string_view what) const {
    return bad_input(fmt::format("{}: byte {} of the pickle: {}", where_, opcode_at_, what));
  }
  Result<std::string_view> take(std::uint64_t n) {
    if (n > bytes_.size() - at_) {
      return fail(fmt::format("{} bytes are announced, but {} are left; the pickle is cut short or damaged",
                              n, bytes_.size() - at_));
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_,
                                static_cast<std::size_t>(n));
    at_ += static_cast<std::size_t>(n);
    return text;
  }
  /// Little-endian unsigned number of `width` bytes.
  Result<std::uint64_t> number(std::size_t width) {
    MOESAIC_ASSIGN(const std::string_view text, take(width));
    std::uint64_t value = 0;
    for (std::size_t i = width; i-- > 0;) value = value << 8 | static_cast<unsigned char>(text[i]);
    return value;
  }
  Result<std::string_view> line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_, bytes_.size() - at_);
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) return fail("a text line without its end");
    at_ += end + 1;
    return rest.substr(0, end);
  }

  // The stack.
  Node& node(NodeId id) { return nodes_->nodes[id]; }
  Status push(Node value) {
    stack_.push_back(static_cast<NodeId>(nodes_->nodes.size()));
    nodes_->nodes.push_back(std::move(value));
    return {};
  }
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Result<NodeId> pop() {
    if (stack_.size() <= floor()) return fail("nothing on the stack to take");
    const NodeId top = stack_.back();
    stack_.pop_back();
    return top;
  }
  Result<std::vector<NodeId>> pop_to_mark() {
    if (marks_.empty()) return fail("no mark to go back to");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<NodeId> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  Result<std::vector<NodeId>> pop_many(std::size_t n) {
    if (stack_.size() - floor() < n) return fail("too few values on the stack");
    std::vector<NodeId> items(stack_.end() - static_cast<std::ptrdiff_t>(n), stack_.end());
    stack_.resize(stack_.size() - n);
    return items;
  }
  Result<NodeId> top() {
    if (stack_.size() <= floor()) return fail("nothing on the stack to change");
    return stack_.back();
  }

  Status step(char opcode);
  Status memoise(std::uint64_t key);
  Status recall(std::uint64_t key);
  Status append(const std::vector<NodeId>& items);
  Status set_items(const std::vector<NodeId>& flat);
  Status push_dict(const std::vector<NodeId>& flat);
  Status push_text(std::uint64_t n);
  Status push_bytes(std::uint64_t n);
  Status push_long(std::uint64_t n);
  Status push_double();
  Status push_global(std::string name);
  Status persistent_id();
  Status reduce();
  Status build();
  Status rebuild_tensor(const std::vector<NodeId>& arguments);
  Result<std::vector<std::uint64_t>> sizes(NodeId tuple, std::string_view what);
  const std::vector<NodeId>* items(NodeId id);

  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::unique_ptr<PickleNodes> nodes_;
  std::size_t at_ = 0, opcode_at_ = 0;
  std::vector<NodeId> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, NodeId> memo_;
};

Status PickleMachine::step(char opcode) {
  const auto sized = [&](std::size_t width, auto push_it) -> Status {
    MOESAIC_ASSIGN(const std::uint64_t n, number(width));
    return (this->*push_it)(n);
  };
  const auto tuple_of = [&](std::size_t n) -> Status {
    MOESAIC_ASSIGN(std::vector<NodeId> values, pop_many(n));
    return push(TupleNode{std::move(values)});
  };
  switch (opcode) {
    case '\x80': {  // PROTO
      MOESAIC_ASSIGN(const std::uint64_t version, number(1));
      if (version > 5) return fail(fmt::format("protocol {}, expected at most 5", version));
      return {};
    }
    case '\x95': {  // FRAME
      MOESAIC_ASSIGN(const std::uint64_t n, number(8));
      if (n > bytes_.size() - at_) return fail(fmt::format("a frame of {} bytes does not fit", n));
      return {};
    }
    case '(':  // MARK
      if (marks_.size() == limits::kMaxJsonDepth) {
        return fail(fmt::format("values nested deeper than {} levels", limits::kMaxJsonDepth));
      }
      marks_.push_back(stack_.size());
      return {};
    case '0':  // POP
      if (stack_.size() == floor() && !marks_.empty()) {
        marks_.pop_back();
        return {};
      }
      return pop().map([](NodeId) {});
    case '1':
      return pop_to_mark().map([](const auto&) {});  // POP_MARK
    case '2': {                                      // DUP
      MOESAIC_ASSIGN(const NodeId id, top());
      stack_.push_back(id);
      return {};
    }
    case 'N':
      return push(NoneNode{});
    case '\x88':
      return push(true);
    case '\x89':
      return push(false);
    case 'K':    // BININT1
    case 'M': {  // BININT2
      MOESAIC_ASSIGN(const std::uint64_t value, number(opcode == 'K' ? 1 : 2));
      return push(static_cast<std::int64_t>(value));
    }
    case 'J': {  // BININT
      MOESAIC_ASSIGN(const std::uint64_t value, number(4));
      return push(std::int64_t{static_cast<std::int32_t>(static_cast<std::uint32_t>(value))});
    }
    case '\x8a':
      return sized(1, &PickleMachine::push_long);
    case '\x8b':
      return sized(4, &PickleMachine::push_long);
    case 'G':
      return push_double();
    case 'X':
      return sized(4, &PickleMachine::push_text);  // BINUNICODE
    case '\x8c':
      return sized(1, &PickleMachine::push_text);  // SHORT_BINUNICODE
    case '\x8d':
      return sized(8, &PickleMachine::push_text);  // BINUNICODE8
    case 'T':
      return sized(4, &PickleMachine::push_text);  // BINSTRING: a str of Python 2
    case 'U':
      return sized(1, &PickleMachine::push_text);  // SHORT_BINSTRING
    case 'B':
      return sized(4, &PickleMachine::push_bytes);
    case 'C':
      return sized(1, &PickleMachine::push_bytes);
    case '\x8e':  // BINBYTES8
    case '\x96':
      return sized(8, &PickleMachine::push_bytes);  // BYTEARRAY8
    case ']':
      return push(ListNode{});
    case ')':
      return push(TupleNode{});
    case '}':
      return push(DictNode{});
    case '\x85':
      return tuple_of(1);
    case '\x86':
      return tuple_of(2);
    case '\x87':
      return tuple_of(3);
    case 't': {  // TUPLE
      MOESAIC_ASSIGN(std::vector<NodeId> values, pop_to_mark());
      return push(TupleNode{std::move(values)});
    }
    case 'a': {  // APPEND
      MOESAIC_ASSIGN(const NodeId value, pop());
      return append({value});
    }
    case 'e': {  // APPENDS
      MOESAIC_ASSIGN(const std::vector<NodeId> values, pop_to_mark());
      return append(values);
    }
    case 's': {  // SETITEM
      MOESAIC_ASSIGN(const std::vector<NodeId> pair, pop_many(2));
      return set_items(pair);
    }
    case 'u': {  // SETITEMS
      MOESAIC_ASSIGN(const std::vector<NodeId> flat, pop_to_mark());
      return set_items(flat);
    }
    case 'q':
      return sized(1, &PickleMachine::memoise);  // BINPUT
    case 'r':
      return sized(4, &PickleMachine::memoise);  // LONG_BINPUT
    case '\x94':
      return memoise(memo_.size());  // MEMOIZE
    case 'h':
      return sized(1, &PickleMachine::recall);  // BINGET
    case 'j':
      return sized(4, &PickleMachine::recall);  // LONG_BINGET
    case 'c': {                                 // GLOBAL
      MOESAIC_ASSIGN(const std::string_view module, line());
      MOESAIC_ASSIGN(const std::string_view attribute, line());
      return push_global(fmt::format("{}.{}", module, attribute));
    }
    case '\x93': {  // STACK_GLOBAL
      MOESAIC_ASSIGN(const std::vector<NodeId> pair, pop_many(2));
      const auto* module = std::get_if<std::string>(&node(pair[0]));
      const auto* attribute = std::get_if<std::string>(&node(pair[1]));
      if (module == nullptr || attribute == nullptr) return fail("a global whose name is no text");
      return push_global(fmt::format("{}.{}", *module, *attribute));
    }
    case 'Q':
      return persistent_id();  // BINPERSID
    case 'R':
      return reduce();
    case 'b':
      return build();
    default:
      return fail(
          fmt::format("opcode 0x{:02x} is not read from foreign files (it can make objects of any class)",
                      static_cast<unsigned char>(opcode)));
  }
}

Status PickleMachine::memoise(std::uint64_t key) {
  MOESAIC_ASSIGN(const NodeId id, top());
  memo_[key] = id;
  return {};
}

Status PickleMachine::recall(std::uint64_t key) {
  const auto found = memo_.find(key);
  if (found == memo_.end()) return fail(fmt::format("memo {} was never set", key));
  stack_.push_back(found->second);
  return {};
}

Status PickleMachine::append(const std::vector<NodeId>& values) {
  MOESAIC_ASSIGN(const NodeId target, top());
  auto* list = std::get_if<ListNode>(&node(target));
  if (list == nullptr) return fail("items are appended to what is no list");
  list->items.insert(list->items.end(), values.begin(), values.end());
  return {};
}

Status PickleMachine::set_items(const std::vector<NodeId>& flat) {
  MOESAIC_ASSIGN(const NodeId target, top());
  auto* dict = std::get_if<DictNode>(&node(target));
  if (dict == nullptr) return fail("entries are set in what is no dict");
  if (flat.size() % 2 != 0) return fail("a key without a value");
  for (std::size_t i = 0; i < flat.size(); i += 2) dict->entries.emplace_back(flat[i], flat[i + 1]);
  return {};
}

Status PickleMachine::push_dict(const std::vector<NodeId>& flat) {
  MOESAIC_TRY(push(DictNode{}));
  return set_items(flat);
}

Status PickleMachine::push_text(std::uint64_t n) {
  MOESAIC_ASSIGN(const std::string_view text, take(n));
  return push(std::string(text));
}

Status PickleMachine::push_bytes(std::uint64_t n) {
  MOESAIC_ASSIGN(const std::string_view text, take(n));
  return push(BytesNode{std::string(text)});
}

Status PickleMachine::push_long(std::uint64_t n) {
  MOESAIC_ASSIGN(const std::string_view text, take(n));
  if (n > 8) return fail(fmt::format("a whole number of {} bytes, expected at most 8", n));
  std::uint64_t value = !text.empty() && static_cast<signed char>(text.back()) < 0 ? ~std::uint64_t{0} : 0;
  for (std::size_t i = text.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(text[i]);
  return push(static_cast<std::int64_t>(value));
}

Status PickleMachine::push_double() {
  MOESAIC_ASSIGN(const std::uint64_t little, number(8));
  return push(std::bit_cast<double>(__builtin_bswap64(little)));  // big endian in the file
}

Status PickleMachine::push_global(std::string name) {
  if (name != kRebuildTensor && name != kOrderedDict && !storage_dtype(name)) {
    return fail(fmt::format(
        "the global {:.200} is not read from foreign files; expected plain values and tensors only", name));
  }
  return push(GlobalNode{std::move(name)});
}

const std::vector<NodeId>* PickleMachine::items(NodeId id) {
  if (const auto* tuple = std::get_if<TupleNode>(&node(id))) return &tuple->items;
  if (const auto* list = std::get_if<ListNode>(&node(id))) return &list->items;
  return nullptr;
}

/// ('storage', <storage class>, key, location, element count): the only persistent id torch writes.
Status PickleMachine::persistent_id() {
  MOESAIC_ASSIGN(const NodeId id, pop());
  const std::vector<NodeId>* parts = items(id);
  if (parts == nullptr || parts->size() != 5) return fail("a persistent id that is no torch storage");
  const auto* tag = std::get_if<std::string>(&node((*parts)[0]));
  const auto* type = std::get_if<GlobalNode>(&node((*parts)[1]));
  const auto* key = std::get_if<std::string>(&node((*parts)[2]));
  const auto* count = std::get_if<std::int64_t>(&node((*parts)[4]));
  const auto dtype = type == nullptr ? std::nullopt : storage_dtype(type->name);
  if (tag == nullptr || *tag != "storage" || !dtype || key == nullptr || count == nullptr || *count < 0) {
    return fail("a persistent id that is no torch storage");
  }
  return push(StorageNode{*dtype, *key, static_cast<std::uint64_t>(*count)});
}

Status PickleMachine::reduce() {
  MOESAIC_ASSIGN(const std::vector<NodeId> call, pop_many(2));
  const auto* global = std::get_if<GlobalNode>(&node(call[0]));
  const auto* arguments = std::get_if<TupleNode>(&node(call[1]));
  if (global == nullptr || arguments == nullptr) return fail("a call of what is no function");
  if (global->name == kRebuildTensor) return rebuild_tensor(arguments->items);
  if (global->name != kOrderedDict) return fail(fmt::format("a call of {}", global->name));
  if (arguments->items.empty()) return push(DictNode{});
  // OrderedDict([[key, value], ...]), as Python 2 pickled it.
  const std::vector<NodeId>* pairs = arguments->items.size() == 1 ? items(arguments->items[0]) : nullptr;
  if (pairs == nullptr) return fail("an OrderedDict of what is no list of pairs");
  std::vector<NodeId> flat;
  for (const NodeId pair : *pairs) {
    const std::vector<NodeId>* both = items(pair);
    if (both == nullptr || both->size() != 2) return fail("an OrderedDict of what is no list of pairs");
    flat.insert(flat.end(), both->begin(), both->end());
  }
  return push_dict(flat);
}

/// Attributes hung on an OrderedDict (a state dict's _metadata): nothing a reader of data needs.
Status PickleMachine::build() {
  MOESAIC_TRY(pop());
  MOESAIC_ASSIGN(const NodeId target, top());
  if (!std::holds_alternative<DictNode>(node(target))) return fail("a state is given to what is no dict");
  return {};
}

Result<std::vector<std::uint64_t>> PickleMachine::sizes(NodeId tuple, std::string_view what) {
  const std::vector<NodeId>* parts = items(tuple);
  if (parts == nullptr || parts->size() > 32)
    return fail(fmt::format("the {} of a tensor is no short tuple", what));
  std::vector<std::uint64_t> out;
  for (const NodeId part : *parts) {
    const auto* value = std::get_if<std::int64_t>(&node(part));
    if (value == nullptr || *value < 0) return fail(fmt::format("the {} of a tensor holds no size", what));
    out.push_back(static_cast<std::uint64_t>(*value));
  }
  return out;
}

/// _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata=None)
Status PickleMachine::rebuild_tensor(const std::vector<NodeId>& arguments) {
  if (arguments.size() < 4) return fail("a tensor of fewer than 4 parts");
  const auto* storage = std::get_if<StorageNode>(&node(arguments[0]));
  const auto* offset = std::get_if<std::int64_t>(&node(arguments[1]));
  if (storage == nullptr || offset == nullptr || *offset < 0)
    return fail("a tensor without a storage and an offset");
  PickleTensor tensor{.dtype = storage->dtype,
                      .storage = storage->key,
                      .storage_count = storage->count,
                      .offset = static_cast<std::uint64_t>(*offset),
                      .shape = {},
                      .strides = {}};
  MOESAIC_ASSIGN(tensor.shape, sizes(arguments[2], "shape"));
  MOESAIC_ASSIGN(tensor.strides, sizes(arguments[3], "stride"));
  if (tensor.shape.size() != tensor.strides.size())
    return fail("a tensor whose shape and stride differ in length");
  std::uint64_t last = tensor.offset;
  bool overflow = false, empty = false;
  for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
    if (tensor.shape[d] == 0) {
      empty = true;
      continue;
    }
    std::uint64_t reach = 0;
    overflow = overflow || __builtin_mul_overflow(tensor.shape[d] - 1, tensor.strides[d], &reach) ||
               __builtin_add_overflow(last, reach, &last);
  }
  if (!empty && (overflow || last >= tensor.storage_count)) {
    return fail(fmt::format("a tensor reaches beyond the {} elements of its storage \"{:.40}\"",
                            tensor.storage_count, tensor.storage));
  }
  return push(std::move(tensor));
}

Pickle::Pickle(std::unique_ptr<PickleNodes> nodes) : nodes_(std::move(nodes)) {}
Pickle::Pickle(Pickle&&) noexcept = default;
Pickle& Pickle::operator=(Pickle&&) noexcept = default;
Pickle::~Pickle() = default;

Result<Pickle> Pickle::parse(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() >= std::uint64_t{1} << 32) {
    return bad_input(fmt::format("{}: a pickle of {} bytes, expected less than 4 GiB", where, bytes.size()));
  }
  return PickleMachine(bytes, where).run();
}

PickleValue Pickle::root() const { return PickleValue(nodes_.get(), nodes_->root); }

std::vector<const PickleTensor*> Pickle::tensors() const {
  std::vector<const PickleTensor*> out;
  for (const Node& node : nodes_->nodes) {
    if (const auto* tensor = std::get_if<PickleTensor>(&node)) out.push_back(tensor);
  }
  return out;
}

}  // namespace moesaic::io
