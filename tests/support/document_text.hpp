// Documents in memory, padded as importers expect them.
#pragma once

#include <string>
#include <string_view>

#include "ingest/documents.hpp"

namespace moesaic::ingest {

inline Document document_of(std::string_view name, std::string_view text, std::string_view folder = "f") {
  Document out;
  out.path = std::string(folder) + "/" + std::string(name);
  out.name = name;
  out.folder = folder;
  out.bytes = text;
  out.bytes.reserve(out.bytes.size() + kPadding);
  out.size = text.size();
  out.loaded = true;
  return out;
}

}  // namespace moesaic::ingest
