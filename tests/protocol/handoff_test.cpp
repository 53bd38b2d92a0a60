#include "protocol/handoff.hpp"

#include <set>

#include "io/json.hpp"

namespace moesaic::protocol {
namespace {

Json parsed(const std::string& text) {
  auto json = io::parse_json(text, "leg");
  EXPECT_TRUE(json) << text << ": " << (json ? "" : json.error().message);
  return json ? *json : Json();
}

RequestBody read(std::string& text, Route route = Route::kCompletions) {
  static RequestReader reader;
  auto body = reader.read(text, route);
  EXPECT_TRUE(body) << text << ": " << (body ? "" : body.error().message);
  return body ? *body : RequestBody{};
}

std::string refusal(std::string text, Route route = Route::kCompletions) {
  RequestReader reader;
  const auto body = reader.read(text, route);
  EXPECT_FALSE(body) << text;
  return body ? "" : body.error().message;
}

TEST(RequestBody, ReadsWhatPlacingARequestNeeds) {
  std::string text =
      R"( { "model" : "m\u0041" , "prompt":"hello \"you\"", "stream":true,"stream_options":{"include_usage":true},
          "n":1, "max_tokens": 7 , "min_tokens":3, "x-unknown":[1,{"n":9}] } )";
  const RequestBody body = read(text);
  EXPECT_EQ(body.model, "mA");
  EXPECT_EQ(body.prompt, R"("hello \"you\"")");
  EXPECT_TRUE(body.stream);
  EXPECT_TRUE(body.include_usage);
  EXPECT_EQ(body.choices, 1u);
  EXPECT_EQ(body.max_tokens, 7u);
  EXPECT_EQ(body.min_tokens, 3u);
  EXPECT_EQ(body.members.size(), 8u);
  EXPECT_TRUE(body.reserved.empty());
}

TEST(RequestBody, UnknownFieldsPassByteForByte) {
  std::string text =
      R"({"prompt":[[1,2],[3]],"temperature":1.0000000000000000001,"logit_bias":{"50256":-1e2},"s":"\u00e9é"})";
  EXPECT_EQ(plain_body(read(text)).text(), text);
}

TEST(RequestBody, WhatOnlyTheGatewayMaySayIsTakenOutHoweverItIsSpelt) {
  std::string text =
      R"({"kv_transfer_params":{"a":[1]},"prompt":"x","bootstrap_room":3,"routed_dp_rank":1,)"
      R"("data_parallel_rank":2,"kv\u005ftransfer_params":{},"kv_transfer_params":null,"disagg_prefill_dp_rank":0,"z":1})";
  const RequestBody body = read(text);
  EXPECT_EQ(body.reserved.size(), 7u);
  EXPECT_EQ(plain_body(body).text(), R"({"prompt":"x","z":1})");
  EXPECT_EQ(plain_body(body, 5).text(), R"({"routed_dp_rank":5,"prompt":"x","z":1})");
}

TEST(RequestBody, RefusalsNameTheField) {
  EXPECT_NE(refusal("[1]").find("JSON object"), std::string::npos);
  EXPECT_NE(refusal("").find("JSON"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\":\"x\"").find("JSON"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\":\"x\"} {}").find("nothing after"), std::string::npos);
  EXPECT_NE(refusal("{}").find("\"prompt\""), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\":\"x\"}", Route::kChat).find("\"messages\""), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\":\"x\",\"stream\":1}").find("\"stream\""), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\":\"x\",\"n\":-1}").find("\"n\""), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\":\"x\",\"max_tokens\":1.5}").find("\"max_tokens\""), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\":\"x\",\"model\":3}").find("\"model\""), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\":\"x\",\"stream_options\":3}").find("\"stream_options\""), std::string::npos);
  std::string many = "{\"prompt\":1";
  for (int i = 0; i < 1100; ++i) many += ",\"a\":1";
  EXPECT_NE(refusal(many + "}").find("1024"), std::string::npos);
}

TEST(RequestBody, NullMeansAbsent) {
  std::string text =
      R"({"prompt":"x","stream":null,"stream_options":null,"n":null,"max_tokens":null,"min_tokens":null})";
  const RequestBody body = read(text);
  EXPECT_FALSE(body.stream);
  EXPECT_EQ(body.choices, 1u);
  EXPECT_FALSE(body.max_tokens);
}

TEST(Handoff, NixlPrefillIsOneTokenWithoutAStream) {
  std::string text =
      R"({"stream":true,"messages":[{"role":"user","content":"x"}],"max_completion_tokens":50,"min_tokens":20,)"
      R"("stream_options":{"include_usage":true},"tools":[1]})";
  const RequestBody body = read(text, Route::kChat);
  const Json leg = parsed(prefill_body(body, Handoff::kNixl, "").text());
  EXPECT_EQ(
      leg.dump(),
      R"({"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_block_ids":null,)"
      R"("remote_engine_id":null,"remote_host":null,"remote_port":null},"max_completion_tokens":1,)"
      R"("max_tokens":1,"messages":[{"content":"x","role":"user"}],"min_tokens":1,"stream":false,"tools":[1]})");
}

TEST(Handoff, TheDecoderGetsTheReplysParametersVerbatim) {
  std::string text = R"({"prompt":"x","max_tokens":5,"kv_transfer_params":{"forged":1}})";
  const std::string parameters = R"({ "remote_block_ids":[1,2 ],"later_key":1e400,"remote_host":"h"})";
  const auto reply =
      read_prefill_reply(R"({"id":"a","kv_transfer_params":)" + parameters + R"(,"usage":{}})");
  ASSERT_FALSE(reply);  // 1e400 is no number that JSON parsers accept
  const std::string fine = R"({ "remote_block_ids":[1,2 ],"later_key":{"a":null},"eldr_sig":"AAAA"})";
  const auto good = read_prefill_reply(R"({"id":"a","kv_transfer_params":)" + fine + R"(,"usage":{}})");
  ASSERT_TRUE(good) << good.error().message;
  EXPECT_EQ(good->kv_transfer_params, fine);
  EXPECT_EQ(good->eldr_signature, "AAAA");
  EXPECT_EQ(decode_body(read(text), good->kv_transfer_params).text(),
            "{\"kv_transfer_params\":" + fine + R"(,"prompt":"x","max_tokens":5})");
}

TEST(Handoff, RepliesWithoutAHandoffAndBrokenOnes) {
  EXPECT_EQ(read_prefill_reply(R"({"id":"a"})")->kv_transfer_params, "");
  EXPECT_EQ(read_prefill_reply(R"({"kv_transfer_params":null})")->kv_transfer_params, "");
  for (const char* text : {"", "[]", "{", R"({"kv_transfer_params":3})", R"({"kv_transfer_params":"x"})",
                           R"({"kv_transfer_params":{"a":}})", R"({"a":1}x)", R"({"kv_transfer_params":{)"}) {
    EXPECT_FALSE(read_prefill_reply(text)) << text;
  }
}

TEST(Handoff, MooncakeAndEldrNameTheirTransfer) {
  std::string text = R"({"prompt":"x"})";
  const RequestBody body = read(text);
  const Json prefill = parsed(prefill_body(body, Handoff::kMooncake, "xfer-\"1").text());
  EXPECT_EQ(prefill.find("kv_transfer_params")->find("transfer_id")->as_string()[0], "xfer-\"1");
  const Json eldr = parsed(prefill_body(body, Handoff::kEldr, "xfer-1").text());
  EXPECT_EQ(*eldr.find("return_token_ids")->as_bool(), true);
  const Json decode = parsed(mooncake_decode_body(body, "xfer-1", {"engine", "10.0.0.1:8998"}).text());
  EXPECT_EQ(decode.find("kv_transfer_params")->dump(),
            R"({"do_remote_decode":false,"do_remote_prefill":true,"remote_bootstrap_addr":"10.0.0.1:8998",)"
            R"("remote_engine_id":"engine","transfer_id":"xfer-1"})");
}

TEST(Handoff, BothSglangLegsGetTheSameRoom) {
  std::string text = R"({"prompt":"x","bootstrap_host":"evil"})";
  EXPECT_EQ(
      sglang_body(read(text), {"10.0.0.1", std::nullopt, 9223372036854775807u}).text(),
      R"({"bootstrap_host":"10.0.0.1","bootstrap_port":null,"bootstrap_room":9223372036854775807,"prompt":"x"})");
  EXPECT_EQ(sglang_body(read(text), {"h", 8998, 1}).text(),
            R"({"bootstrap_host":"h","bootstrap_port":8998,"bootstrap_room":1,"prompt":"x"})");
}

TEST(Handoff, SeveralChoicesCannotBeSplit) {
  std::string one = R"({"prompt":"x","n":1})", two = R"({"prompt":"x","best_of":2})";
  EXPECT_TRUE(can_be_split(read(one)));
  EXPECT_FALSE(can_be_split(read(two)));
}

TEST(Handoff, NamesReadBackFromAConfiguration) {
  for (const Handoff handoff :
       {Handoff::kNone, Handoff::kNixl, Handoff::kEldr, Handoff::kMooncake, Handoff::kSglang}) {
    const auto node = parse_config("a: " + std::string(to_string(handoff)), "test");
    EXPECT_EQ(*read_handoff(*node, "a"), handoff);
  }
  for (const Role role : {Role::kPlain, Role::kPrefill, Role::kDecode}) {
    const auto node = parse_config("a: " + std::string(to_string(role)), "test");
    EXPECT_EQ(*read_role(*node, "a"), role);
    EXPECT_EQ(*read_role(*node, "b"), Role::kPlain);
  }
  const auto node = parse_config("a: other", "test");
  EXPECT_FALSE(read_handoff(*node, "a"));
  EXPECT_FALSE(read_role(*node, "a"));
}

TEST(Handoff, TheDecodersRankStandsInItsBody) {
  std::string text = R"({"prompt":"x"})";
  const RequestBody body = read(text);
  for (const std::string& leg :
       {decode_body(body, "{\"a\":1}", 3).text(), mooncake_decode_body(body, "t", {"e", "h:1"}, 3).text(),
        sglang_body(body, {"h", 8998, 1}, 3).text()}) {
    std::uint64_t rank = 0;
    const Json json = parsed(leg);
    ASSERT_NE(json.find("routed_dp_rank"), nullptr) << leg;
    EXPECT_TRUE(json.find("routed_dp_rank")->to_uint(rank));
    EXPECT_EQ(rank, 3u);
  }
}

RC_GTEST_PROP(RequestBody, AnyFieldsInAnyOrderKeepTheirValues, ()) {
  const auto names = *rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
      "a", "stream", "n", "max_tokens", "kv_transfer_params", "bootstrap_port", "b"));
  std::string text = "{";
  Json expected;
  for (const std::string& name : names) {
    const bool reserved = name[0] == 'k' || name.starts_with("boot");
    const std::string value = name == "stream" ? "true" : name == "a" ? "[1, {\"x\":\"},{\"}]" : "1";
    text += "\"" + name + "\" :" + value + (value.size() % 2 == 0 ? " ,\n" : ",");
    if (!reserved) expected[name] = *io::parse_json("[" + value + "]", "v")->as_array()->begin();
  }
  text += "\"prompt\":\"p\"}";
  expected["prompt"] = "p";
  const std::string leg = plain_body(read(text)).text();
  // A key that stands twice is the client's own affair: compare by the last one, as engines do.
  const std::string again = [&] {
    std::string copy = leg;
    return plain_body(read(copy)).text();
  }();
  RC_ASSERT(again == leg);
  if (std::set<std::string>(names.begin(), names.end()).size() == names.size()) {
    RC_ASSERT(parsed(leg) == expected);
  }
}

TEST(Shadow, ACopyIsWholeShortAndAsksForExpertsWhereTheEngineMustBeAsked) {
  std::string text =
      R"({"model":"m","prompt":"p","stream":true,"stream_options":{"include_usage":true},"n":3,)"
      R"("max_tokens":900,"min_tokens":400,"bootstrap_room":1,"temperature":0})";
  const RequestBody body = read(text);
  const Json vllm = parsed(shadow_body(body, 64, false).text());
  EXPECT_EQ(vllm, parsed(R"({"max_tokens":64,"stream":false,"model":"m","prompt":"p","temperature":0})"));
  const Json sglang = parsed(shadow_body(body, 2000, true).text());
  EXPECT_EQ(sglang, parsed(R"({"max_tokens":900,"stream":false,"return_routed_experts":true,"model":"m",)"
                           R"("prompt":"p","temperature":0})"));
}

}  // namespace
}  // namespace moesaic::protocol
