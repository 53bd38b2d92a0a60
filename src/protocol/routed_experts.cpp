#include "protocol/routed_experts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "core/check.hpp"
#include "core/limits.hpp"
#include "io/array.hpp"
#include "io/base64.hpp"
#include "io/npy.hpp"

namespace moesaic::protocol {
namespace {

/// Expert of a payload's number, or an error.
Result<ExpertId> to_expert(std::int64_t id, std::size_t at, const std::string& where) {
  if (id == -1) return kMissingExpert;
  if (id < 0 || id >= static_cast<std::int64_t>(limits::kMaxExperts)) {
    return bad_input(fmt::format("{}: id {} at position {}, expected -1 or an expert below {}", where, id, at,
                                 limits::kMaxExperts));
  }
  return ExpertId(static_cast<std::uint16_t>(id));
}

Status check_shape(std::uint64_t planes, std::uint64_t top_k, const std::string& where) {
  if (planes == 0 || planes > limits::kMaxLayers || top_k == 0 || top_k > limits::kMaxTopK) {
    return bad_input(fmt::format("{}: {} layers of {} experts a token, expected 1 to {} and 1 to {}", where,
                                 planes, top_k, limits::kMaxLayers, limits::kMaxTopK));
  }
  return {};
}

/// Lists of lists of lists of whole numbers, nothing else: small enough to read by hand, and without the
/// index a general parser would build.
class NestedLists {
 public:
  NestedLists(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Result<RoutedExperts> read() {
    MOESAIC_TRY(expect('['));
    if (!take(']')) {
      do {
        MOESAIC_TRY(read_row());
      } while (take(','));
      MOESAIC_TRY(expect(']'));
    }
    skip_space();
    if (at_ != text_.size()) return fail("the end");
    out_.width = planes_ * out_.top_k;
    return std::move(out_);
  }

 private:
  Status read_row() {
    MOESAIC_TRY(expect('['));
    std::size_t planes = 0;
    do {
      MOESAIC_TRY(read_ids());
      ++planes;
    } while (take(','));
    MOESAIC_TRY(expect(']'));
    if (out_.rows == 0) planes_ = planes;
    if (planes != planes_) {
      return bad_input(fmt::format("{}: row {} has {} layers, expected {} as in row 0", where_, out_.rows,
                                   planes, planes_));
    }
    MOESAIC_TRY(check_shape(planes_, out_.top_k, where_));
    ++out_.rows;
    return {};
  }

  Status read_ids() {
    MOESAIC_TRY(expect('['));
    const std::size_t begin = out_.ids.size();
    do {
      skip_space();
      std::int64_t id = 0;
      const char* first = text_.data() + at_;
      const auto [end, error] = std::from_chars(first, text_.data() + text_.size(), id);
      if (error != std::errc()) return fail("an expert id");
      MOESAIC_ASSIGN(const ExpertId expert, to_expert(id, out_.ids.size(), where_));
      at_ += static_cast<std::size_t>(end - first);
      out_.ids.push_back(expert);
    } while (take(','));
    MOESAIC_TRY(expect(']'));
    const std::size_t k = out_.ids.size() - begin;
    if (begin == 0) out_.top_k = k;
    if (k != out_.top_k) {
      return bad_input(fmt::format("{}: {} ids in a layer of row {}, expected {} as in the first", where_, k,
                                   out_.rows, out_.top_k));
    }
    return {};
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) {
      ++at_;
    }
  }
  bool next_is(char c) {
    skip_space();
    return at_ < text_.size() && text_[at_] == c;
  }
  bool take(char c) {
    if (!next_is(c)) return false;
    ++at_;
    return true;
  }
  Status expect(char c) {
    if (take(c)) return {};
    return fail(std::string_view(&c, 1));
  }
  tl::unexpected<Error> fail(std::string_view expected) const {
    return bad_input(fmt::format("{}: byte {} of the lists: expected {} (rows of layers of expert ids)",
                                 where_, at_, expected));
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0, planes_ = 0;
  RoutedExperts out_;
};

}  // namespace

Result<RoutedExperts> decode_int32(std::string_view base64, std::size_t rows, const std::string& where) {
  MOESAIC_ASSIGN(const std::vector<std::byte> bytes, io::decode_base64(base64, where, base64.size()));
  RoutedExperts out;
  if (bytes.empty()) return out;
  MOESAIC_CHECK(rows > 0);
  if (bytes.size() % 4 != 0 || bytes.size() / 4 % rows != 0) {
    return bad_input(
        fmt::format("{}: {} bytes, expected int32 ids in {} equal rows (the token counts of the reply "
                    "and its ids do not fit)",
                    where, bytes.size(), rows));
  }
  out.rows = rows;
  out.width = bytes.size() / 4 / rows;
  if (out.width > limits::kMaxLayers * limits::kMaxTopK) {
    return bad_input(fmt::format("{}: {} ids a token, expected at most {}", where, out.width,
                                 limits::kMaxLayers * limits::kMaxTopK));
  }
  out.ids.reserve(bytes.size() / 4);
  for (std::size_t i = 0; i < bytes.size(); i += 4) {
    std::uint32_t bits = 0;
    for (std::size_t j = 4; j-- > 0;) bits = (bits << 8) | std::to_integer<std::uint32_t>(bytes[i + j]);
    MOESAIC_ASSIGN(const ExpertId id, to_expert(static_cast<std::int32_t>(bits), i / 4, where));
    out.ids.push_back(id);
  }
  return out;
}

Result<RoutedExperts> decode_npy(std::string_view base64, const std::string& where) {
  MOESAIC_ASSIGN(const std::vector<std::byte> bytes, io::decode_base64(base64, where, base64.size()));
  MOESAIC_ASSIGN(const io::Array array, io::read_npy(bytes, where));
  if (array.shape.size() != 3 || !io::is_integer(array.dtype)) {
    return bad_input(
        fmt::format("{}: an array {} of {}, expected whole numbers [tokens, layers, experts a token]", where,
                    array.shape_text(), io::name(array.dtype)));
  }
  RoutedExperts out;
  if (array.count() == 0) return out;
  MOESAIC_TRY(check_shape(array.shape[1], array.shape[2], where));
  out.rows = array.shape[0];
  out.top_k = array.shape[2];
  out.width = array.shape[1] * out.top_k;
  MOESAIC_ASSIGN(const std::vector<std::int64_t> ids, io::to_int64(array, where));
  out.ids.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    MOESAIC_ASSIGN(const ExpertId id, to_expert(ids[i], i, where));
    out.ids.push_back(id);
  }
  return out;
}

Result<RoutedExperts> decode_nested(std::string_view json, const std::string& where) {
  return NestedLists(json, where).read();
}

bool is_all_zero(const RoutedExperts& experts) {
  return !experts.ids.empty() &&
         std::all_of(experts.ids.begin(), experts.ids.end(), [](ExpertId id) { return id == ExpertId{0}; });
}

}  // namespace moesaic::protocol
