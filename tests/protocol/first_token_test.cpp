#include "protocol/first_token.hpp"

#include "io/json.hpp"

namespace moesaic::protocol {
namespace {

Json parsed(const std::string& text) {
  auto json = io::parse_json(text, "leg");
  EXPECT_TRUE(json) << text << ": " << (json ? "" : json.error().message);
  return json ? *json : Json();
}

bool can(std::string text, Route route = Route::kCompletions) {
  RequestReader reader;
  const auto body = reader.read(text, route);
  EXPECT_TRUE(body) << text;
  return body && can_give_first_token(*body);
}

TEST(FirstToken, OnlyAStreamedTextOfOnePromptCanHaveIt) {
  for (const char* text :
       {R"({"prompt":"x","stream":true})", R"({"prompt": [1, 2],"stream":true,"logprobs":null,"echo":false})",
        R"({"prompt":"[\"","stream":true,"stream_options":{"include_usage":true},"max_tokens":1})"}) {
    EXPECT_TRUE(can(text)) << text;
  }
  for (const char* text :
       {R"({"prompt":"x"})", R"({"prompt":["a"],"stream":true})", R"({"prompt":[[1],[2]],"stream":true})",
        R"({"prompt":[],"stream":true})", R"({"prompt":"x","stream":true,"n":2})",
        R"({"prompt":"x","stream":true,"logprobs":0})", R"({"prompt":"x","stream":true,"echo":true})",
        R"({"prompt":"x","stream":true,"response_format":{"type":"json_object"}})",
        R"({"prompt":"x","stream":true,"guided_regex":"a"})",
        R"({"prompt":"x","stream":true,"max_tokens":0})",
        R"({"prompt":"x","stream":true,"stream_options":{"continuous_usage_stats":true}})"}) {
    EXPECT_FALSE(can(text)) << text;
  }
  EXPECT_FALSE(can(R"({"messages":[{"role":"user","content":"x"}],"stream":true})", Route::kChat));
}

TEST(FirstToken, ThePrefillerKeepsTheLimitsAndTheDecoderGetsIdsForTheText) {
  std::string text =
      R"({"prompt":"x","max_tokens":8,"min_tokens":2,"stream":true,"stream_options":{"include_usage":true},)"
      R"("add_special_tokens":true,"truncate_prompt_tokens":5,"kv_transfer_params":{}})";
  RequestReader reader;
  const auto body = reader.read(text, Route::kCompletions);
  ASSERT_TRUE(body);
  const Json prefill = parsed(first_token_body(*body, "xfer-1").text());
  EXPECT_EQ(
      prefill.dump(),
      R"({"add_special_tokens":true,"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,)"
      R"("prefill_first":true,"transfer_id":"xfer-1"},"max_tokens":8,"min_tokens":2,"prompt":"x",)"
      R"("return_token_ids":true,"stream":false,"truncate_prompt_tokens":5})");
  FirstToken first;
  first.prompt_ids = "[3,4]";
  const Json decode = parsed(continue_body(*body, first, R"({"a":1})", 2).text());
  EXPECT_EQ(
      decode.dump(),
      R"({"add_special_tokens":false,"kv_transfer_params":{"a":1},"max_tokens":8,"min_tokens":2,"prompt":[3,4],)"
      R"("routed_dp_rank":2,"stream":true,"stream_options":{"include_usage":true}})");
}

std::string reply(std::string_view token_ids, std::string_view parameters) {
  return R"({"id":"cmpl-1","choices":[{"index":0,"text":"A\u00e9","token_ids":)" + std::string(token_ids) +
         R"(,"prompt_token_ids":[3,4],"finish_reason":"length","stop_reason":7}],"usage":{"completion_tokens":1},)"
         R"("kv_transfer_params":{)" +
         std::string(parameters) + "}}";
}

TEST(FirstToken, TheClientsEventIsTheReplyWithoutWhatIsTheEnginesOwn) {
  const auto going = read_first_token(
      reply("[7]", R"("prefill_first_token_id":7,"prefill_prompt_tokens":2,"prefill_continues":true)"));
  ASSERT_TRUE(going) << going.error().message;
  EXPECT_TRUE(going->continues);
  EXPECT_EQ(going->prompt_ids, "[3,4]");
  EXPECT_EQ(
      parsed(going->event).dump(),
      parsed(R"({"id":"cmpl-1","choices":[{"index":0,"text":"Aé","finish_reason":null,"stop_reason":null}]})")
          .dump());
  const auto last = read_first_token(
      reply("[7]", R"("prefill_first_token_id":7,"prefill_prompt_tokens":2,"prefill_continues":false)"));
  ASSERT_TRUE(last);
  EXPECT_FALSE(last->continues);
  EXPECT_NE(last->event.find(R"("finish_reason":"length")"), std::string::npos);
  EXPECT_EQ(parsed(last->usage_event).dump(),
            parsed(R"({"id":"cmpl-1","choices":[],"usage":{"completion_tokens":1}})").dump());
}

TEST(FirstToken, AReplyThatContradictsItselfIsRefused) {
  const std::string fine = R"("prefill_first_token_id":7,"prefill_prompt_tokens":2,"prefill_continues":true)";
  for (const std::string& text :
       {std::string("[1]"), std::string("{"), std::string(R"({"choices":[]})"), reply("[8]", fine),
        reply("[7,7]", fine),
        reply("[7]", R"("prefill_first_token_id":7,"prefill_prompt_tokens":3,"prefill_continues":true)"),
        reply("[7]", R"("prefill_first_token_id":7,"prefill_prompt_tokens":2)"),
        reply("[7]", R"("prefill_first_token_id":-7,"prefill_prompt_tokens":2,"prefill_continues":true)")}) {
    const auto read = read_first_token(text);
    ASSERT_FALSE(read) << text;
    EXPECT_TRUE(read.error().message.starts_with("the prefiller's reply with a first token: expected "));
  }
}

}  // namespace
}  // namespace moesaic::protocol
