// Reads the members of one JSON object strictly. The first thing that is wrong is kept and every later
// getter returns a default, so a reader lists its keys in a row and asks finish() once.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"

namespace moesaic::artifact {

class Fields {
 public:
  /// `where` names the file, `path` the object in it ("" for the document itself). All must outlive this.
  Fields(const Json& object, const std::string& where, std::string path);

  /// The member, or nullptr after noting that it is missing.
  const Json* member(std::string_view key);
  /// The member, or nullptr when it is missing or null.
  const Json* optional_member(std::string_view key);
  std::uint64_t whole(std::string_view key, std::uint64_t low, std::uint64_t high);
  double number(std::string_view key, double low, double high);
  bool boolean(std::string_view key);
  /// At most limits::kMaxStringBytes.
  std::string text(std::string_view key);
  /// An object, handed over as it is.
  Json object(std::string_view key);
  /// An array of `count` items (any number up to `max` when `exact` is false).
  const Json::Array* array(std::string_view key, std::size_t count, bool exact = true);
  std::vector<std::uint64_t> wholes(std::string_view key, std::size_t max, std::uint64_t low,
                                    std::uint64_t high);
  std::vector<std::string> texts(std::string_view key, std::size_t max);
  /// An array of `rows` arrays of `columns` items, each of which `take` must accept; `expected` says what
  /// it accepts.
  void matrix(std::string_view key, std::size_t rows, std::size_t columns, std::string_view expected,
              const std::function<bool(const Json&)>& take);
  /// Exactly `expected`, for the schema key.
  void schema(std::string_view expected);

  /// Notes "<path>.<key>: found ..., expected ...", unless something was wrong before.
  void fail(std::string_view key, const Json* found, std::string_view expected);
  void fail(Error error);
  bool ok() const { return error_.empty(); }
  /// The full path of a member.
  std::string path_of(std::string_view key) const;
  const std::string& where() const { return where_; }

  /// The first error so far, for documents that may hold other keys.
  Status first_error() const;
  /// The first error; else an error for a key that nobody asked for.
  Status finish();

 private:
  const Json& object_;
  const std::string& where_;
  std::string path_;
  std::string error_;
  std::set<std::string, std::less<>> known_;
};

/// A value as an error shows it: cut to a line.
std::string shown(const Json& value);

}  // namespace moesaic::artifact
