// The attributes of a store's root group (docs/store.md): what the arrays mean and where they come from.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/json.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"
#include "trace/trace.hpp"

namespace moesaic::trace {

inline constexpr std::string_view kStoreSchema = "moesaic.trace/1";

struct StoreHeader {
  Kind kind = Kind::kTokens;
  ModelShape shape;
  IdOrder order = IdOrder::kSet;        ///< kTokens
  bool weights = false;                 ///< kTokens
  CountUnit unit = CountUnit::kTokens;  ///< kCounts
  Provenance provenance;
  std::string digest;
};

std::string_view name(Kind kind);
std::string_view name(IdOrder order);
std::string_view name(CountUnit unit);

Json shape_json(const ModelShape& shape);
Json to_json(const StoreHeader& header);
/// Errors name `where` and the key.
Result<StoreHeader> parse_store_header(const Json& attributes, const std::string& where);

/// The digest of a store: hash of its header without digest and provenance, and of the shape and content
/// hash (io/zarr_array.hpp) of each array, by path. Where data came from does not change it.
struct ArrayContent {
  std::vector<std::uint64_t> shape;
  std::string hash;  ///< hexadecimal
};
std::string store_digest(const StoreHeader& header, const std::map<std::string, ArrayContent>& arrays);

}  // namespace moesaic::trace
