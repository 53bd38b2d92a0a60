#include "support/real_requests.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <string_view>

#include "core/json.hpp"
#include "core/limits.hpp"
#include "io/archive.hpp"
#include "io/byte_stream.hpp"
#include "io/json.hpp"
#include "support/shared_data.hpp"

namespace moesaic::testing {
namespace {

std::size_t number(const Json& object, const char* key) {
  std::uint64_t value = 0;
  const Json* member = object.find(key);
  return member != nullptr && member->to_uint(value) ? static_cast<std::size_t>(value) : 0;
}

/// Counts one Llama-4 document: [{"layer": null | [[id], ...], ...} prefill, then one object a token].
void count_document(std::string_view text, RealRequests& out) {
  const std::size_t at = out.before.size();
  out.before.resize(at + out.layers * out.experts);
  out.after.resize(at + out.layers * out.experts);
  std::size_t objects = 0, layer = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    objects += text[i] == '{' ? 1 : 0;
    const bool key = text[i] == '"';
    i += key ? 1 : 0;
    if (std::isdigit(static_cast<unsigned char>(text[i])) == 0) continue;
    std::size_t value = 0;
    for (; std::isdigit(static_cast<unsigned char>(text[i])) != 0; ++i) {
      value = 10 * value + static_cast<std::size_t>(text[i] - '0');
    }
    if (key) {
      layer = value;
    } else {  // MoE layers are the odd ones
      ++(objects == 1 ? out.before : out.after).at(at + (layer / 2) * out.experts + value);
    }
  }
  out.tokens.push_back(static_cast<std::int64_t>(objects) - 1);
}

}  // namespace

RealRequests gpt_oss_requests(double fraction) {
  constexpr std::size_t kTopK = 4;
  RealRequests out{.layers = 24, .experts = 32};
  const std::string folder = shared_data("traces/gpt-oss-20b-decode/");
  const auto index = io::read_json(io::real_files(), folder + "index.json");
  const auto ids =
      io::read_maybe_compressed(io::real_files(), folder + "experts.u8.bin.xz", limits::kMaxDocumentBytes);
  if (!index || !ids) return {};
  std::map<std::string, std::uint16_t> topics;
  for (const Json& request : *index->find("requests")->as_array()) {
    const std::size_t start = number(request, "start"), n = number(request, "n");
    const auto split = start + static_cast<std::size_t>(fraction * static_cast<double>(n));
    const std::size_t at = out.before.size();
    out.before.resize(at + out.layers * out.experts);
    out.after.resize(at + out.layers * out.experts);
    for (std::size_t i = start * out.layers * kTopK; i < (start + n) * out.layers * kTopK; ++i) {
      const std::size_t layer = i / kTopK % out.layers;
      auto& counts = i / (out.layers * kTopK) < split ? out.before : out.after;
      ++counts[at + layer * out.experts + static_cast<unsigned char>(ids->at(i))];
    }
    out.tokens.push_back(static_cast<std::int64_t>(start + n - split));
    out.ids.push_back(std::to_string(out.ids.size()));
    const std::string topic = *request.find("topic")->as_string();
    out.domains.push_back(topics.emplace(topic, static_cast<std::uint16_t>(topics.size())).first->second);
  }
  return out;
}

RealRequests llama4_requests() {
  RealRequests out{.layers = 24, .experts = 128};
  std::uint16_t domain = 0;
  for (const char* subject : {"abstract_algebra", "anatomy"}) {
    auto reader = io::ArchiveReader::open(io::real_files(),
                                          shared_data("traces/llama4-maverick-mmlu/") + subject + ".tar.xz");
    if (!reader) return {};
    while (true) {
      auto entry = reader->next();
      if (!entry) return {};
      if (!*entry) break;
      count_document((*entry)->bytes, out);
      out.ids.push_back((*entry)->name);
      out.domains.push_back(domain);
    }
    ++domain;
  }
  return out;
}

}  // namespace moesaic::testing
