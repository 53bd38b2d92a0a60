// Reply bodies: where the engines put routing and the token counts that give it a shape.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <optional>

#include "core/limits.hpp"
#include "protocol/routed_experts.hpp"

namespace moesaic::protocol {
namespace {

namespace ondemand = simdjson::ondemand;

/// A reply being read. Every getter names the key in its error.
class Fields {
 public:
  explicit Fields(const std::string& where) : where_(where) {}

  const std::string& where() const { return where_; }

  tl::unexpected<Error> fail(std::string_view key, std::string_view expected) const {
    return bad_input(fmt::format("{}: key \"{}\": expected {}", where_, key.substr(0, 64), expected));
  }
  tl::unexpected<Error> syntax(simdjson::error_code error) const {
    return bad_input(fmt::format("{}: expected a reply, which is one JSON object; the JSON parser says: {}",
                                 where_, simdjson::error_message(error)));
  }

  Status number(std::string_view key, ondemand::value value, std::optional<std::uint64_t>& out) const {
    MOESAIC_ASSIGN(const bool null, is_null(key, value));
    if (null) return {};
    std::uint64_t read = 0;
    if (value.get_uint64().get(read) != simdjson::SUCCESS) return fail(key, "a whole number or null");
    out = read;
    return {};
  }
  Status text(std::string_view key, ondemand::value value, std::optional<std::string_view>& out) const {
    MOESAIC_ASSIGN(const bool null, is_null(key, value));
    if (null) return {};
    std::string_view read;
    if (value.get_string().get(read)) return fail(key, "a string or null");
    out = read;
    return {};
  }
  Result<bool> is_null(std::string_view key, ondemand::value value) const {
    bool null = false;
    if (value.is_null().get(null)) return fail(key, "a JSON value");
    return null;
  }

  /// Calls visit(key, value) for each field of `value`, an object (or null, which has none).
  template <class Visit>
  Status each_field(std::string_view key, ondemand::value value, Visit visit) const {
    MOESAIC_ASSIGN(const bool null, is_null(key, value));
    if (null) return {};
    ondemand::object object;
    if (value.get_object().get(object)) return fail(key, "an object or null");
    return each_field(object, visit);
  }
  template <class Visit>
  Status each_field(ondemand::object& object, Visit visit) const {
    for (auto field : object) {
      std::string_view name;
      if (auto error = field.unescaped_key().get(name)) return syntax(error);
      ondemand::value value;
      if (auto error = field.value().get(value)) return syntax(error);
      MOESAIC_TRY(visit(name, value));
    }
    return {};
  }
  /// Calls visit(value) for each element of `value`, a list (or null).
  template <class Visit>
  Status each_element(std::string_view key, ondemand::value value, Visit visit) const {
    MOESAIC_ASSIGN(const bool null, is_null(key, value));
    if (null) return {};
    ondemand::array array;
    if (value.get_array().get(array)) return fail(key, "a list or null");
    for (auto item : array) {
      ondemand::value element;
      if (auto error = item.get(element)) return syntax(error);
      MOESAIC_TRY(visit(element));
    }
    return {};
  }

 private:
  const std::string& where_;
};

/// Calls visit(key, value) for the fields of `json`, one object. Strings read stay valid while `json` and
/// `parser` live.
template <class Visit>
Status each_field_of(const simdjson::padded_string& json, ondemand::parser& parser, const Fields& fields,
                     Visit visit) {
  ondemand::document document;
  if (auto error = parser.iterate(json).get(document)) return fields.syntax(error);
  ondemand::object object;
  if (auto error = document.get_object().get(object)) return fields.syntax(error);
  MOESAIC_TRY(fields.each_field(object, visit));
  if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) {
    return fields.syntax(simdjson::TRAILING_CONTENT);
  }
  return {};
}

struct Usage {
  std::optional<std::uint64_t> prompt, completion;

  Status read(const Fields& fields, std::string_view key, ondemand::value value) {
    if (key == "prompt_tokens") return fields.number(key, value, prompt);
    if (key == "completion_tokens") return fields.number(key, value, completion);
    return {};
  }
};

// SGLang

/// expert_ids_schema (sglang srt/state_capturer/expert_route_selection.py).
struct Schema {
  std::optional<std::uint64_t> layers, top_k, input_rows, input_start, output_rows, output_start;
  std::optional<std::string_view> dtype, layout, id_space;
  std::vector<LayerId> moe_layers;

  Status read(const Fields& fields, std::string_view key, ondemand::value value) {
    if (key == "num_layers") return fields.number(key, value, layers);
    if (key == "top_k") return fields.number(key, value, top_k);
    if (key == "input_num_rows") return fields.number(key, value, input_rows);
    if (key == "input_start_position") return fields.number(key, value, input_start);
    if (key == "output_num_rows") return fields.number(key, value, output_rows);
    if (key == "output_start_position") return fields.number(key, value, output_start);
    if (key == "dtype") return fields.text(key, value, dtype);
    if (key == "layout") return fields.text(key, value, layout);
    if (key == "id_space") return fields.text(key, value, id_space);
    if (key != "moe_layer_ids") return {};
    return fields.each_element(key, value, [&](ondemand::value item) -> Status {
      std::optional<std::uint64_t> layer;
      MOESAIC_TRY(fields.number(key, item, layer));
      if (!layer || *layer >= limits::kMaxLayers) return fields.fail(key, "layers below 4096");
      moe_layers.push_back(LayerId(static_cast<std::uint16_t>(*layer)));
      return {};
    });
  }

  Status check(const Fields& fields) const {
    if (dtype.value_or("int32") != "int32") return fields.fail("expert_ids_schema.dtype", "int32");
    if (layout.value_or("row_major") != "row_major")
      return fields.fail("expert_ids_schema.layout", "row_major");
    if (id_space.value_or("logical_global") != "logical_global") {
      return fields.fail("expert_ids_schema.id_space",
                         "logical_global: physical ids need a map that is not here");
    }
    if (!layers || !top_k || *layers == 0 || *layers > limits::kMaxLayers || *top_k == 0 ||
        *top_k > limits::kMaxTopK) {
      return fields.fail("expert_ids_schema", "num_layers from 1 to 4096 and top_k from 1 to 64");
    }
    const bool ascend =
        std::adjacent_find(moe_layers.begin(), moe_layers.end(), std::greater_equal<>()) == moe_layers.end();
    if (moe_layers.empty() || !ascend || index(moe_layers.back()) >= *layers) {
      return fields.fail("expert_ids_schema.moe_layer_ids",
                         "ascending layers below num_layers, at least one");
    }
    return {};
  }
};

struct SglangReply {
  std::optional<std::string_view> id, routed, input_ids, output_ids;
  Usage usage;
  std::optional<Schema> schema;
  std::size_t choices = 0;

  /// Fields of meta_info, of sglext, or of a choice's sgl_ext.
  Status read_extension(const Fields& fields, std::string_view key, ondemand::value value) {
    if (key == "id") return fields.text(key, value, id);
    if (key == "routed_experts") return fields.text(key, value, routed);
    if (key == "input_expert_ids") return fields.text(key, value, input_ids);
    if (key == "output_expert_ids") return fields.text(key, value, output_ids);
    if (key == "expert_ids_schema") {
      return fields.each_field(key, value, [&](std::string_view name, ondemand::value item) {
        if (!schema) schema.emplace();
        return schema->read(fields, name, item);
      });
    }
    return usage.read(fields, key, value);
  }
  Status read(const Fields& fields, std::string_view key, ondemand::value value) {
    const auto extension = [&](std::string_view name, ondemand::value item) {
      return read_extension(fields, name, item);
    };
    if (key == "id") return fields.text(key, value, id);
    if (key == "usage") {
      return fields.each_field(key, value, [&](std::string_view name, ondemand::value item) {
        return usage.read(fields, name, item);
      });
    }
    if (key == "meta_info" || key == "sglext" || key == "sgl_ext")
      return fields.each_field(key, value, extension);
    if (key != "choices") return {};
    return fields.each_element(key, value, [&](ondemand::value choice) {
      ++choices;
      return fields.each_field("choices", choice, [&](std::string_view name, ondemand::value item) -> Status {
        if (name != "sglext" && name != "sgl_ext") return {};
        return fields.each_field(name, item, extension);
      });
    });
  }

  Result<ReplyRouting> whole_sequence(const Fields& fields) const {
    ReplyRouting out;
    const std::string where = fields.where() + ": routed_experts";
    if (!usage.prompt || !usage.completion || *usage.prompt > limits::kMaxTokens ||
        *usage.completion > limits::kMaxTokens) {
      return bad_input(
          fmt::format("{}: the reply lacks prompt_tokens or completion_tokens, which give the ids their "
                      "rows",
                      where));
    }
    const std::uint64_t positions = *usage.prompt + *usage.completion;
    if (positions < 2 && !routed->empty()) {
      return bad_input(fmt::format(
          "{}: ids for a reply of {} tokens, expected none (the last token has no row)", where, positions));
    }
    MOESAIC_ASSIGN(out.experts, decode_int32(*routed, std::max<std::uint64_t>(positions, 2) - 1, where));
    out.prefill_rows = std::min<std::size_t>(*usage.prompt, out.experts.rows);
    out.all_layers = true;
    return out;
  }

  /// The row of position p decided the token p + 1, so the row of the last prompt position is the first of
  /// the output part.
  Result<ReplyRouting> partitions(const Fields& fields) const {
    ReplyRouting out;
    out.all_layers = true;
    if (!schema)
      return fields.fail("expert_ids_schema", "a schema beside input_expert_ids and output_expert_ids");
    MOESAIC_TRY(schema->check(fields));
    out.moe_layers = schema->moe_layers;
    out.experts.top_k = *schema->top_k;
    out.experts.width = *schema->layers * *schema->top_k;
    const auto add = [&](std::string_view key, const std::optional<std::string_view>& text,
                         const std::optional<std::uint64_t>& rows) -> Status {
      if (!text) return {};
      const std::string where = fmt::format("{}: {}", fields.where(), key);
      if (rows.value_or(0) == 0 && !text->empty())
        return fields.fail(key, "as many rows as expert_ids_schema says");
      MOESAIC_ASSIGN(const RoutedExperts part,
                     decode_int32(*text, std::max<std::uint64_t>(rows.value_or(0), 1), where));
      if (part.rows > 0 && part.width != out.experts.width) {
        return bad_input(fmt::format("{}: {} ids a row, expected {} by expert_ids_schema", where, part.width,
                                     out.experts.width));
      }
      out.experts.rows += part.rows;
      out.experts.ids.insert(out.experts.ids.end(), part.ids.begin(), part.ids.end());
      return {};
    };
    MOESAIC_TRY(add("input_expert_ids", input_ids, schema->input_rows));
    out.prefill_rows = out.experts.rows;
    MOESAIC_TRY(add("output_expert_ids", output_ids, schema->output_rows));
    if (out.experts.rows > out.prefill_rows) ++out.prefill_rows;
    return out;
  }
};

// vLLM

/// One routed_experts value: null, a string, or lists (kept as text; the document outlives it).
struct Payload {
  std::string_view text;
  bool present = false, nested = false;

  Status read(const Fields& fields, std::string_view key, ondemand::value value) {
    ondemand::json_type type{};
    if (value.type().get(type)) return fields.fail(key, "a string, lists or null");
    if (type == ondemand::json_type::null) return {};
    present = true;
    if (type == ondemand::json_type::string) {
      if (value.get_string().get(text)) return fields.fail(key, "base64 text");
      return {};
    }
    nested = true;
    ondemand::array array;
    if (value.get_array().get(array) || array.raw_json().get(text))
      return fields.fail(key, "a string, lists or null");
    return {};
  }
  Result<RoutedExperts> decode(const std::string& where) const {
    return nested ? decode_nested(text, where) : decode_npy(text, where);
  }
};

struct VllmReply {
  std::optional<std::string_view> id;
  Usage usage;
  Payload prompt;
  std::vector<Payload> choices;

  Status read(const Fields& fields, std::string_view key, ondemand::value value) {
    if (key == "id") return fields.text(key, value, id);
    if (key == "prompt_routed_experts") return prompt.read(fields, key, value);
    if (key == "usage") {
      return fields.each_field(key, value, [&](std::string_view name, ondemand::value item) {
        return usage.read(fields, name, item);
      });
    }
    if (key != "choices") return {};
    return fields.each_element(key, value, [&](ondemand::value choice) {
      choices.emplace_back();
      return fields.each_field("choices", choice, [&](std::string_view name, ondemand::value item) -> Status {
        if (name != "routed_experts") return {};
        return choices.back().read(fields, name, item);
      });
    });
  }

  Result<ReplyRouting> choice(const Fields& fields, std::size_t i, const RoutedExperts& prompt_rows) const {
    ReplyRouting out;
    if (id) out.id = i == 0 ? std::string(*id) : fmt::format("{}/{}", *id, i);
    const std::string where = fmt::format("{}: choices[{}].routed_experts", fields.where(), i);
    RoutedExperts own;
    if (choices[i].present) {
      MOESAIC_ASSIGN(own, choices[i].decode(where));
    }
    if (!prompt.present) {
      if (!usage.prompt) {
        return bad_input(
            fmt::format("{}: the reply lacks usage.prompt_tokens, which tells prefill from decode", where));
      }
      out.prefill_rows = std::min<std::size_t>(*usage.prompt, own.rows);
      out.experts = std::move(own);
      return out;
    }
    if (own.rows > 0 && prompt_rows.rows > 0 &&
        (own.width != prompt_rows.width || own.top_k != prompt_rows.top_k)) {
      return bad_input(
          fmt::format("{}: {} ids a row, {} a layer; expected {} and {} as in prompt_routed_experts", where,
                      own.width, own.top_k, prompt_rows.width, prompt_rows.top_k));
    }
    out.experts = prompt_rows;
    out.prefill_rows = prompt_rows.rows;
    if (out.experts.rows == 0) {
      out.experts = std::move(own);
      return out;
    }
    out.experts.rows += own.rows;
    out.experts.ids.insert(out.experts.ids.end(), own.ids.begin(), own.ids.end());
    return out;
  }
};

}  // namespace

Result<std::vector<ReplyRouting>> read_sglang_reply(std::string_view json, const std::string& where) {
  const Fields fields(where);
  std::vector<ReplyRouting> out;
  SglangReply reply;
  const simdjson::padded_string padded(json);
  ondemand::parser parser;
  MOESAIC_TRY(each_field_of(padded, parser, fields, [&](std::string_view key, ondemand::value value) {
    return reply.read(fields, key, value);
  }));
  if (reply.choices > 1 && (reply.routed || reply.input_ids || reply.output_ids)) {
    return fields.fail(
        "choices", "one choice: SGLang's token counts are sums over all of them; import replies with n = 1");
  }
  if (reply.routed) {
    MOESAIC_ASSIGN(ReplyRouting routing, reply.whole_sequence(fields));
    out.push_back(std::move(routing));
  } else if (reply.input_ids || reply.output_ids) {
    MOESAIC_ASSIGN(ReplyRouting routing, reply.partitions(fields));
    out.push_back(std::move(routing));
  }
  if (!out.empty() && reply.id) out[0].id = std::string(*reply.id);
  return out;
}

Result<std::vector<ReplyRouting>> read_vllm_reply(std::string_view json, const std::string& where) {
  const Fields fields(where);
  std::vector<ReplyRouting> out;
  VllmReply reply;
  const simdjson::padded_string padded(json);
  ondemand::parser parser;
  MOESAIC_TRY(each_field_of(padded, parser, fields, [&](std::string_view key, ondemand::value value) {
    return reply.read(fields, key, value);
  }));
  RoutedExperts prompt;
  if (reply.prompt.present) {
    MOESAIC_ASSIGN(prompt, reply.prompt.decode(where + ": prompt_routed_experts"));
  }
  for (std::size_t i = 0; i < reply.choices.size(); ++i) {
    if (!reply.choices[i].present && !reply.prompt.present) continue;
    MOESAIC_ASSIGN(ReplyRouting routing, reply.choice(fields, i, prompt));
    out.push_back(std::move(routing));
  }
  return out;
}

}  // namespace moesaic::protocol
