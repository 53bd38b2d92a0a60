#include "io/npy.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/limits.hpp"

namespace moesaic::io {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kMaxDimensions = 32;  // NumPy's own bound before 2.0
constexpr std::uint64_t kMaxItemBytes = 4 * limits::kMaxStringBytes;

struct Header {
  std::string descr;
  bool fortran = false;
  std::vector<std::uint64_t> shape;
};

/// Parses the one Python literal NumPy writes: {'descr': '<i4', 'fortran_order': False, 'shape': (3, 4), }.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, std::size_t offset, const std::string& where)
      : text_(text), offset_(offset), where_(where) {}

  Result<Header> parse() {
    Header header;
    bool seen[3] = {};
    MOESAIC_TRY(expect('{'));
    while (!take('}')) {
      MOESAIC_ASSIGN(const std::string key, quoted());
      MOESAIC_TRY(expect(':'));
      const std::size_t which = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : 3;
      if (which == 3 || seen[which]) return fail(fmt::format("key '{}' is not expected here", key));
      seen[which] = true;
      if (which == 0) {
        if (peek() == '[') return fail("an array of records; expected one number or string type");
        MOESAIC_ASSIGN(header.descr, quoted());
      } else if (which == 1) {
        MOESAIC_ASSIGN(header.fortran, boolean());
      } else {
        MOESAIC_ASSIGN(header.shape, tuple());
      }
      if (!take(',') && peek() != '}') return fail("expected ',' or '}'");
    }
    skip_space();
    if (at_ != text_.size()) return fail("text after the closing '}'");
    if (!seen[0] || !seen[1] || !seen[2]) return fail("expected the keys descr, fortran_order and shape");
    return header;
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  Status expect(char c) {
    if (!take(c)) return fail(fmt::format("expected '{}'", c));
    return {};
  }
  Result<std::string> quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return fail("expected a quoted string");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return fail("a string without its end");
    std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }
  Result<bool> boolean() {
    skip_space();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    }
    return fail("expected True or False");
  }
  Result<std::vector<std::uint64_t>> tuple() {
    std::vector<std::uint64_t> shape;
    MOESAIC_TRY(expect('('));
    while (!take(')')) {
      std::uint64_t value = 0;
      if (peek() < '0' || peek() > '9') return fail("expected a whole number >= 0 in the shape");
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
        const auto digit = static_cast<std::uint64_t>(text_[at_++] - '0');
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digit, &value)) {
          return fail("a size beyond 64 bits");
        }
      }
      take('L');  // Python 2 wrote longs so
      if (shape.size() == kMaxDimensions) return fail(fmt::format("more than {} dimensions", kMaxDimensions));
      shape.push_back(value);
      if (!take(',') && peek() != ')') return fail("expected ',' or ')'");
    }
    return shape;
  }
  tl::unexpected<Error> fail(std::string_view what) const {
    return bad_input(fmt::format("{}: byte {} of the npy header: {}", where_, offset_ + at_, what));
  }

  std::string_view text_;
  std::size_t offset_;
  const std::string& where_;
  std::size_t at_ = 0;
};

struct Element {
  DType dtype = DType::kUint8;
  std::size_t bytes = 1;
  bool big_endian = false;
};

Result<Element> parse_descr(std::string_view descr, const std::string& where) {
  const auto refuse = [&](std::string_view why) {
    return bad_input(
        fmt::format("{}: npy element type '{}' {}; expected bool, integers, floats of 16 to 64 bits, "
                    "U or S",
                    where, descr, why));
  };
  if (descr.find('O') != std::string_view::npos) {
    return refuse("holds Python objects, which are not read from foreign files");
  }
  if (descr.size() < 3) return refuse("is not known");
  const char order = descr[0], kind = descr[1];
  if (order != '<' && order != '>' && order != '|' && order != '=') return refuse("is not known");
  std::uint64_t width = 0;
  for (const char c : descr.substr(2)) {
    if (c < '0' || c > '9' || width > kMaxItemBytes) return refuse("is not known");
    width = width * 10 + static_cast<std::uint64_t>(c - '0');
  }
  Element element;
  element.big_endian = order == '>';
  if (kind == 'U' || kind == 'S') {
    const std::uint64_t bytes = kind == 'U' ? width * 4 : width;
    if (bytes == 0) return refuse("has no width");
    if (bytes > kMaxItemBytes) return refuse("is too wide");
    element.dtype = kind == 'U' ? DType::kUnicode : DType::kBytes;
    element.bytes = static_cast<std::size_t>(bytes);
    return element;
  }
  struct Known {
    std::uint64_t width;
    DType dtype;
    char kind;
  };
  constexpr Known kKnown[] = {
      {1, DType::kBool, 'b'},    {1, DType::kInt8, 'i'},    {1, DType::kUint8, 'u'},
      {2, DType::kInt16, 'i'},   {2, DType::kUint16, 'u'},  {4, DType::kInt32, 'i'},
      {4, DType::kUint32, 'u'},  {8, DType::kInt64, 'i'},   {8, DType::kUint64, 'u'},
      {2, DType::kFloat16, 'f'}, {4, DType::kFloat32, 'f'}, {8, DType::kFloat64, 'f'}};
  for (const Known& known : kKnown) {
    if (known.kind == kind && known.width == width) {
      element.dtype = known.dtype;
      element.bytes = static_cast<std::size_t>(width);
      return element;
    }
  }
  return refuse("is not known");
}

/// Reverses the bytes of every unit (element, or code point).
void swap_units(std::vector<std::byte>& data, std::size_t unit) {
  for (std::size_t at = 0; at + unit <= data.size(); at += unit) {
    std::reverse(data.begin() + static_cast<std::ptrdiff_t>(at),
                 data.begin() + static_cast<std::ptrdiff_t>(at + unit));
  }
}

/// Column-major bytes to row-major: walks the output in order, keeping the source offset of each index.
std::vector<std::byte> from_fortran(std::span<const std::byte> data, const std::vector<std::uint64_t>& shape,
                                    std::size_t item) {
  std::vector<std::byte> out(data.size());
  std::vector<std::size_t> stride(shape.size()), at(shape.size());
  std::size_t step = item;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    stride[d] = step;
    step *= static_cast<std::size_t>(shape[d]);
  }
  std::size_t source = 0;
  for (std::size_t target = 0; target < out.size(); target += item) {
    std::memcpy(out.data() + target, data.data() + source, item);
    for (std::size_t d = shape.size(); d-- > 0;) {
      source += stride[d];
      if (++at[d] < shape[d]) break;
      source -= stride[d] * at[d];
      at[d] = 0;
    }
  }
  return out;
}

std::string descr_of(const Array& array) {
  switch (array.dtype) {
    case DType::kBool:
      return "|b1";
    case DType::kInt8:
      return "|i1";
    case DType::kUint8:
      return "|u1";
    case DType::kBytes:
      return fmt::format("|S{}", array.item_bytes);
    case DType::kUnicode:
      return fmt::format("<U{}", array.item_bytes / 4);
    default:
      break;
  }
  const char kind = is_float(array.dtype) ? 'f' : name(array.dtype).starts_with('u') ? 'u' : 'i';
  return fmt::format("<{}{}", kind, array.item_bytes);
}

}  // namespace

Result<Array> read_npy(std::span<const std::byte> bytes, const std::string& where) {
  const auto byte_at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic)) {
    return bad_input(fmt::format("{}: does not begin as an .npy file (\\x93NUMPY)", where));
  }
  const auto cut = [&](std::uint64_t expected) {
    return bad_input(
        fmt::format("{}: {} bytes, expected {}; the file is cut short", where, bytes.size(), expected));
  };
  if (bytes.size() < 10) return cut(10);
  const std::uint32_t version = byte_at(6);
  if (version < 1 || version > 3) {
    return bad_input(fmt::format("{}: npy version {}.{}, expected 1, 2 or 3", where, version, byte_at(7)));
  }
  const std::size_t begin = version == 1 ? 10 : 12;
  if (bytes.size() < begin) return cut(begin);
  std::uint64_t length = byte_at(8) | byte_at(9) << 8;
  if (version > 1) length |= byte_at(10) << 16 | std::uint64_t{byte_at(11)} << 24;
  if (length > bytes.size() - begin) return cut(begin + length);
  const auto header_bytes = static_cast<std::size_t>(length);

  MOESAIC_ASSIGN(const Header header, HeaderParser(text.substr(begin, header_bytes), begin, where).parse());
  MOESAIC_ASSIGN(const Element element, parse_descr(header.descr, where));
  const std::span<const std::byte> data = bytes.subspan(begin + header_bytes);
  MOESAIC_ASSIGN(const std::uint64_t size, checked_bytes(header.shape, element.bytes, data.size(), where));
  if (size != data.size()) {
    return bad_input(fmt::format("{}: {} bytes after the npy header, expected {} for its shape", where,
                                 data.size(), size));
  }
  Array array{.dtype = element.dtype, .item_bytes = element.bytes, .shape = header.shape, .data = {}};
  if (header.fortran && header.shape.size() > 1 && size > 0) {
    array.data = from_fortran(data, header.shape, element.bytes);
  } else {
    array.data.assign(data.begin(), data.end());
  }
  if (element.big_endian && element.dtype != DType::kBytes) {
    swap_units(array.data, element.dtype == DType::kUnicode ? 4 : element.bytes);
  }
  return array;
}

Result<std::string> write_npy(const Array& array) {
  if (array.dtype == DType::kBfloat16)
    return bad_input("bfloat16 arrays have no npy form; convert to float32 first");
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descr_of(array),
                  fmt::join(array.shape, ", "), array.shape.size() == 1 ? "," : "");
  const std::size_t prefix = header.size() + 1 + 10 > 0xFFFF ? 12 : 10;
  header.append((64 - (prefix + header.size() + 1) % 64) % 64, ' ') += '\n';  // data aligned to 64 bytes
  std::string out(kMagic);
  out += prefix == 10 ? '\x01' : '\x02';
  out += '\0';
  for (std::size_t i = 0; i < prefix - 8; ++i) out += static_cast<char>(header.size() >> 8 * i & 0xFF);
  out += header;
  out.append(reinterpret_cast<const char*>(array.data.data()), array.data.size());
  return out;
}

}  // namespace moesaic::io
