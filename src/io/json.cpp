#include "io/json.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "core/limits.hpp"

namespace moesaic::io {
namespace {

/// Builds a Json from nlohmann's events; refuses depth and double keys while they arrive.
class Builder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(const std::string& where) : where_(where) {}

  bool null() override { return put(Json()); }
  bool boolean(bool value) override { return put(Json(value)); }
  bool number_integer(number_integer_t value) override { return put(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return put(Json(value)); }
  bool number_float(number_float_t value, const string_t&) override { return put(Json(value)); }
  bool string(string_t& value) override { return put(Json(std::move(value))); }
  bool binary(binary_t&) override { return fail("binary value"); }
  bool start_object(std::size_t) override { return open(Json(Json::Object{})); }
  bool start_array(std::size_t) override { return open(Json(Json::Array{})); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& value) override {
    if (stack_.back().value.find(value) != nullptr) return fail(fmt::format("key \"{}\" twice", value));
    stack_.back().key = std::move(value);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    std::string_view what = error.what();  // "[json.exception...] parse error at line ..: text"
    if (const auto at = what.find("] "); at != std::string_view::npos) what.remove_prefix(at + 2);
    return fail(fmt::format("byte {}: {}", position, what));
  }

  Json take_root() { return std::move(root_); }
  const std::string& error() const { return error_; }

 private:
  struct Level {
    Json value;
    std::string key;
  };

  bool put(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (stack_.back().value.is_array()) {
      stack_.back().value.push_back(std::move(value));
    } else {
      stack_.back().value[stack_.back().key] = std::move(value);
    }
    return true;
  }

  bool open(Json value) {
    if (stack_.size() >= limits::kMaxJsonDepth) {
      return fail(fmt::format("nested deeper than {} levels", limits::kMaxJsonDepth));
    }
    stack_.push_back({std::move(value), {}});
    return true;
  }

  bool close() {
    Json value = std::move(stack_.back().value);
    stack_.pop_back();
    return put(std::move(value));
  }

  bool fail(std::string what) {
    error_ = fmt::format("{}: {}", where_, what);
    return false;
  }

  const std::string& where_;
  Json root_;
  std::vector<Level> stack_;
  std::string error_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& where) {
  Builder builder(where);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) return bad_input(builder.error());
  return builder.take_root();
}

Result<Json> read_json(FileSystem& files, const std::string& path) {
  MOESAIC_ASSIGN(const std::string text, read_file(files, path, limits::kMaxConfigBytes));
  return parse_json(text, path);
}

}  // namespace moesaic::io
