#include "ingest/replies.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include "core/limits.hpp"
#include "ingest/formats.hpp"
#include "ingest/json_text.hpp"
#include "io/text_lines.hpp"
#include "protocol/routed_experts.hpp"

namespace moesaic::ingest {
namespace {

using protocol::ReplyRouting;
using ReadReply = Result<std::vector<ReplyRouting>> (*)(std::string_view json, const std::string& where);

bool takes(std::string_view name) { return name.ends_with(".json") || is_lines(name); }

class ReplyFile {
 public:
  ReplyFile(const Document& document, ReadReply read) : document_(document), read_(read) {}

  Result<ParsedDocument> parse() {
    const std::string_view text = document_.bytes;
    if (is_lines(document_.name)) {
      MOESAIC_TRY(add_lines(text));
    } else if (JsonStart(text).take('[')) {
      MOESAIC_TRY(add_list());
    } else {
      MOESAIC_TRY(add(text, document_.path));
    }
    return std::move(out_);
  }

 private:
  Status add_lines(std::string_view text) {
    io::TextLines lines(text);
    while (const auto line = lines.next()) {
      Status status = add(line->text, fmt::format("{}: line {}", document_.path, line->number));
      if (!status && line->cut && line->number > 1) {
        note("dropped",
             "A last line that is cut short, as a killed writer leaves it, was left out of each file.");
        return {};
      }
      MOESAIC_TRY(std::move(status));
    }
    return {};
  }

  Status add_list() {
    namespace ondemand = simdjson::ondemand;
    const std::string& bytes = document_.bytes;
    ondemand::parser parser;
    ondemand::document json;
    ondemand::array list;
    auto error =
        parser.iterate(simdjson::padded_string_view(bytes.data(), bytes.size(), bytes.capacity())).get(json);
    if (!error) error = json.get_array().get(list);
    if (error) return fail(error);
    for (auto item : list) {
      ondemand::object object;
      std::string_view text;
      error = item.get_object().get(object);
      if (!error) error = object.raw_json().get(text);
      if (error) return fail(error);
      MOESAIC_TRY(add(text, fmt::format("{}: reply {}", document_.path, replies_)));
    }
    if (json.current_location().error() != simdjson::OUT_OF_BOUNDS) return fail(simdjson::TRAILING_CONTENT);
    return {};
  }

  tl::unexpected<Error> fail(simdjson::error_code error) const {
    return bad_input(fmt::format(
        "{}: reply {}: expected a list of replies, which are JSON objects; the JSON parser says: {}",
        document_.path, replies_, simdjson::error_message(error)));
  }

  Status add(std::string_view text, const std::string& where) {
    MOESAIC_ASSIGN(std::vector<ReplyRouting> routings, read_(text, where));
    if (routings.empty()) note("dropped", "Replies that carry no routed experts were left out.");
    for (ReplyRouting& routing : routings) {
      if (routing.experts.rows == 0) {
        note("dropped", "Replies that carry no routed experts were left out.");
      } else if (protocol::is_all_zero(routing.experts)) {
        note("dropped",
             "Replies whose experts are all zero were left out; an engine that has none may answer so.");
      } else {
        MOESAIC_TRY(add_request(routing, where));
      }
    }
    ++replies_;
    return {};
  }

  Status add_request(ReplyRouting& routing, const std::string& where) {
    const protocol::RoutedExperts& experts = routing.experts;
    if (experts.rows > UINT32_MAX) return bad_input(fmt::format("{}: more than 2^32 tokens", where));
    if (out_.empty()) {
      describe_planes(routing);
    } else if (experts.width != width_ || experts.top_k != out_.top_k) {
      return bad_input(
          fmt::format("{}: {} ids a token, expected {} as in the replies before it; import the replies of "
                      "one model at a time",
                      where, experts.width, width_));
    }
    ParsedRequest request;
    request.record.id = routing.id;
    if (request.record.id.empty()) {
      const std::string name = stem(document_.name);
      request.record.id = document_.folder.empty() ? name : document_.folder + "/" + name;
      if (replies_ > 0) request.record.id += fmt::format("/{}", replies_);
    }
    request.record.domain = document_.folder;
    request.record.prefill_tokens = static_cast<std::uint32_t>(routing.prefill_rows);
    request.record.decode_tokens = static_cast<std::uint32_t>(experts.rows - routing.prefill_rows);
    note_placeholders(experts);
    request.experts = std::move(routing.experts.ids);
    out_.requests.push_back(std::move(request));
    return {};
  }

  void describe_planes(const ReplyRouting& routing) {
    width_ = routing.experts.width;
    out_.top_k = routing.experts.top_k;
    if (out_.top_k == 0) {
      out_.width = width_;
      return;
    }
    const std::size_t planes = width_ / out_.top_k;
    for (std::size_t p = 0; p < planes; ++p) out_.planes.push_back(LayerId(static_cast<std::uint16_t>(p)));
    out_.layers_known = routing.all_layers;
    if (!routing.all_layers) return;
    out_.model_layers = planes;
    out_.all_zero.assign(planes, true);
    for (const LayerId layer : routing.moe_layers) out_.all_zero[index(layer)] = false;
  }

  void note_placeholders(const protocol::RoutedExperts& experts) {
    std::uint64_t rows = 0;
    for (std::size_t row = 0; row < experts.rows; ++row) {
      const auto begin = experts.ids.begin() + static_cast<std::ptrdiff_t>(row * experts.width);
      if (std::find(begin, begin + static_cast<std::ptrdiff_t>(experts.width), kMissingExpert) !=
          begin + static_cast<std::ptrdiff_t>(experts.width)) {
        ++rows;
      }
    }
    if (rows > 0) {
      note("repaired",
           "Tokens with -1 for an expert (positions the engine took from its cache or did not compute) "
           "are kept with that choice missing.",
           rows);
    }
  }

  void note(std::string_view kind, std::string_view what, std::uint64_t count = 1) {
    for (trace::Anomaly& anomaly : out_.anomalies) {
      if (anomaly.what == what) {
        anomaly.count += count;
        return;
      }
    }
    out_.anomalies.push_back({std::string(kind), std::string(what), count});
  }

  const Document& document_;
  ReadReply read_;
  std::size_t replies_ = 0, width_ = 0;
  ParsedDocument out_;
};

bool detect_sglang(std::string_view, std::string_view head) {
  if (has_key(head, "sglext") || has_key(head, "sgl_ext")) return true;
  return has_key(head, "meta_info") &&
         (has_key(head, "routed_experts") || has_key(head, "input_expert_ids") ||
          has_key(head, "output_expert_ids"));
}

bool detect_vllm(std::string_view, std::string_view head) {
  return has_key(head, "prompt_routed_experts") ||
         (has_key(head, "choices") && has_key(head, "routed_experts"));
}

Status run_sglang(ImportContext& context) { return import_token_documents(context, parse_sglang_replies); }
Status run_vllm(ImportContext& context) { return import_token_documents(context, parse_vllm_replies); }

}  // namespace

Result<ParsedDocument> parse_sglang_replies(const Document& document, const ImportOptions&) {
  return ReplyFile(document, protocol::read_sglang_reply).parse();
}

Result<ParsedDocument> parse_vllm_replies(const Document& document, const ImportOptions&) {
  return ReplyFile(document, protocol::read_vllm_reply).parse();
}

constinit const Importer kSglangGenerate{
    .name = "sglang-generate",
    .what =
        "SGLang replies with meta_info.routed_experts, sglext or input_/output_expert_ids (main, July 2026)",
    .takes = takes,
    .detect = detect_sglang,
    .run = run_sglang,
    .shared = true,
};

constinit const Importer kVllmCompletion{
    .name = "vllm-completion",
    .what = "vLLM replies with routed_experts: nested lists (0.21) or base64 of .npy (later)",
    .takes = takes,
    .detect = detect_vllm,
    .run = run_vllm,
    .shared = true,
};

}  // namespace moesaic::ingest
