#include "protocol/routed_experts.hpp"

#include <fmt/format.h>

#include <span>

#include "io/array.hpp"
#include "io/base64.hpp"
#include "io/files.hpp"
#include "io/npy.hpp"
#include "support/shared_data.hpp"

namespace moesaic::protocol {
namespace {

std::string int32_base64(const std::vector<std::int32_t>& values) {
  return io::encode_base64(std::as_bytes(std::span(values)));
}

std::string npy_base64(const std::vector<std::uint64_t>& shape, const std::vector<std::int32_t>& values) {
  const auto npy = io::write_npy(io::make_array(shape, values));
  EXPECT_TRUE(npy);
  return io::encode_base64(io::as_bytes(*npy));
}

std::vector<int> numbers(const std::vector<ExpertId>& ids) {
  std::vector<int> out;
  for (ExpertId id : ids) out.push_back(id == kMissingExpert ? -1 : static_cast<int>(index(id)));
  return out;
}

void expect_error(const auto& result, const std::string& part) {
  ASSERT_FALSE(result) << "expected an error with: " << part;
  EXPECT_EQ(result.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

TEST(RoutedExperts, Int32IdsAreDividedIntoRows) {
  const auto out = decode_int32(int32_base64({1, 2, 3, -1, 5, 6}), 2, "t");
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_EQ(out->rows, 2u);
  EXPECT_EQ(out->width, 3u);
  EXPECT_EQ(out->top_k, 0u);
  EXPECT_EQ(numbers(out->ids), (std::vector<int>{1, 2, 3, -1, 5, 6}));
}

TEST(RoutedExperts, Int32IdsThatDoNotFitAreRefused) {
  expect_error(decode_int32(int32_base64({1, 2, 3}), 2, "t"), "12 bytes");
  expect_error(decode_int32(int32_base64({1, 70000}), 1, "t"), "id 70000 at position 1");
  expect_error(decode_int32(int32_base64({-2}), 1, "t"), "id -2");
  expect_error(decode_int32("AAA", 1, "t"), "t");
}

TEST(RoutedExperts, NpyCarriesItsShape) {
  const auto out = decode_npy(npy_base64({2, 1, 3}, {0, 1, 2, 3, 4, -1}), "t");
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_EQ(out->rows, 2u);
  EXPECT_EQ(out->width, 3u);
  EXPECT_EQ(out->top_k, 3u);
  EXPECT_EQ(numbers(out->ids), (std::vector<int>{0, 1, 2, 3, 4, -1}));
  expect_error(decode_npy(npy_base64({2, 3}, {0, 1, 2, 3, 4, 5}), "t"), "[2, 3]");
  expect_error(decode_npy(npy_base64({1, 1, 65}, std::vector<std::int32_t>(65)), "t"), "65 experts a token");
}

TEST(RoutedExperts, NestedListsMustBeRectangular) {
  const auto out = decode_nested(" [[[1,2],[3,4]] ,\n[[5,6],[-1,-1]]] ", "t");
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_EQ(out->rows, 2u);
  EXPECT_EQ(out->width, 4u);
  EXPECT_EQ(out->top_k, 2u);
  EXPECT_EQ(numbers(out->ids), (std::vector<int>{1, 2, 3, 4, 5, 6, -1, -1}));
  expect_error(decode_nested("[[[1,2],[3]]]", "t"), "1 ids in a layer");
  expect_error(decode_nested("[[[1]],[[1],[2]]]", "t"), "row 1 has 2 layers");
  expect_error(decode_nested("[[1]]", "t"), "expected [");
  expect_error(decode_nested("[[[[1]]]]", "t"), "expected an expert id");
  expect_error(decode_nested("[[[1.5]]]", "t"), "expected ]");
  expect_error(decode_nested("[[[1]]] x", "t"), "expected the end");
  expect_error(decode_nested("[[[1]]", "t"), "expected ]");
  expect_error(decode_nested("[[[99999999999999999999]]]", "t"), "expected an expert id");
  const auto none = decode_nested("[]", "t");
  ASSERT_TRUE(none);
  EXPECT_EQ(none->rows, 0u);
}

RC_GTEST_PROP(RoutedExperts, AllThreeEncodingsAgree, ()) {
  const auto rows = *rc::gen::inRange<std::size_t>(1, 6);
  const auto planes = *rc::gen::inRange<std::size_t>(1, 5);
  const auto k = *rc::gen::inRange<std::size_t>(1, 5);
  const auto ids =
      *rc::gen::container<std::vector<std::int32_t>>(rows * planes * k, rc::gen::inRange(-1, 65534));
  std::string nested = "[";
  for (std::size_t r = 0, at = 0; r < rows; ++r) {
    nested += r ? ",[" : "[";
    for (std::size_t p = 0; p < planes; ++p) {
      nested += p ? ",[" : "[";
      for (std::size_t j = 0; j < k; ++j) nested += fmt::format("{}{}", j ? "," : "", ids[at++]);
      nested += "]";
    }
    nested += "]";
  }
  nested += "]";
  const auto raw = decode_int32(int32_base64(ids), rows, "t");
  const auto npy = decode_npy(npy_base64({rows, planes, k}, ids), "t");
  const auto lists = decode_nested(nested, "t");
  RC_ASSERT(raw.has_value());
  RC_ASSERT(npy.has_value());
  RC_ASSERT(lists.has_value());
  RC_ASSERT(raw->ids == npy->ids);
  RC_ASSERT(raw->ids == lists->ids);
  RC_ASSERT(npy->top_k == k && lists->top_k == k);
  RC_ASSERT(raw->width == planes * k && lists->width == planes * k);
}

TEST(SglangReply, WholeSequenceIsSplitAfterThePrompt) {
  const std::string text = int32_base64({1, 2, 3, 4, 5, 6, 7, 8});
  const auto out = read_sglang_reply(
      fmt::format(
          R"({{"meta_info":{{"routed_experts":"{}","completion_tokens":2,"id":"a","prompt_tokens":3}}}})",
          text),
      "t");
  ASSERT_TRUE(out) << out.error().message;
  ASSERT_EQ(out->size(), 1u);
  EXPECT_EQ(out->front().id, "a");
  EXPECT_EQ(out->front().experts.rows, 4u);
  EXPECT_EQ(out->front().prefill_rows, 3u);
  EXPECT_TRUE(out->front().all_layers);
}

TEST(SglangReply, OpenAiRoutesCarryItInAnExtension) {
  const std::string text = int32_base64({1, 2});
  const std::string top = fmt::format(R"("sglext":{{"routed_experts":"{}"}},"choices":[{{}}])", text);
  const std::string in_choice = fmt::format(R"("choices":[{{"sgl_ext":{{"routed_experts":"{}"}}}}])", text);
  for (const std::string& extension : {top, in_choice}) {
    const std::string json =
        fmt::format(R"({{"id":"c","usage":{{"prompt_tokens":1,"completion_tokens":2}},{}}})", extension);
    const auto out = read_sglang_reply(json, "t");
    ASSERT_TRUE(out) << out.error().message;
    ASSERT_EQ(out->size(), 1u);
    EXPECT_EQ(out->front().id, "c");
    EXPECT_EQ(out->front().prefill_rows, 1u);
    EXPECT_EQ(out->front().experts.rows, 2u);
  }
}

std::string partitioned(const std::string& schema, const std::vector<std::int32_t>& input,
                        const std::vector<std::int32_t>& output) {
  return fmt::format(
      R"({{"meta_info":{{"input_expert_ids":"{}","output_expert_ids":"{}","expert_ids_schema":{{{}}}}}}})",
      int32_base64(input), int32_base64(output), schema);
}

TEST(SglangReply, TheFirstRowOfTheOutputPartIsThePromptsLast) {
  const auto out = read_sglang_reply(
      partitioned(R"("num_layers":3,"top_k":1,"moe_layer_ids":[1,2],"dtype":"int32","layout":"row_major",)"
                  R"("id_space":"logical_global","input_num_rows":1,"output_num_rows":2)",
                  {0, 5, 6}, {0, 7, 8, 0, 9, 9}),
      "t");
  ASSERT_TRUE(out) << out.error().message;
  ASSERT_EQ(out->size(), 1u);
  const ReplyRouting& reply = out->front();
  EXPECT_EQ(reply.experts.rows, 3u);
  EXPECT_EQ(reply.prefill_rows, 2u);
  EXPECT_EQ(reply.experts.top_k, 1u);
  EXPECT_EQ(reply.moe_layers, (std::vector<LayerId>{LayerId{1}, LayerId{2}}));
}

TEST(SglangReply, SchemasThatAreNotTheKnownOnesAreRefused) {
  const std::string good =
      R"("num_layers":3,"top_k":1,"moe_layer_ids":[1,2],"input_num_rows":1,"output_num_rows":0)";
  ASSERT_TRUE(read_sglang_reply(partitioned(good, {0, 5, 6}, {}), "t"));
  expect_error(read_sglang_reply(partitioned(good + R"(,"id_space":"physical")", {0, 5, 6}, {}), "t"),
               "logical_global");
  expect_error(read_sglang_reply(partitioned(good + R"(,"dtype":"int16")", {0, 5, 6}, {}), "t"), "int32");
  expect_error(read_sglang_reply(partitioned(good + R"(,"layout":"column_major")", {0, 5, 6}, {}), "t"),
               "row_major");
  expect_error(read_sglang_reply(partitioned(good, {0, 5}, {}), "t"), "2 ids a row, expected 3");
  expect_error(read_sglang_reply(partitioned(good, {0, 5, 6}, {1, 2, 3}), "t"), "output_expert_ids");
  expect_error(
      read_sglang_reply(partitioned(R"("num_layers":3,"top_k":1,"moe_layer_ids":[2,1])", {}, {}), "t"),
      "ascending");
  expect_error(read_sglang_reply(partitioned(R"("num_layers":99999,"top_k":1)", {}, {}), "t"), "num_layers");
  expect_error(read_sglang_reply(R"({"meta_info":{"input_expert_ids":""}})", "t"), "expert_ids_schema");
}

TEST(SglangReply, TokenCountsMustGiveTheRows) {
  expect_error(read_sglang_reply(R"({"meta_info":{"routed_experts":"AAAAAA=="}})", "t"), "prompt_tokens");
  expect_error(
      read_sglang_reply(
          R"({"meta_info":{"routed_experts":"AAAAAA==","prompt_tokens":1,"completion_tokens":0}})", "t"),
      "expected none");
  expect_error(
      read_sglang_reply(
          R"({"meta_info":{"routed_experts":"AAAAAA==","prompt_tokens":2,"completion_tokens":2}})", "t"),
      "3 equal rows");
  expect_error(read_sglang_reply(R"({"choices":[{},{}],"sglext":{"routed_experts":"AAAAAA=="}})", "t"),
               "n = 1");
}

TEST(SglangReply, AReplyWithoutRoutingIsEmpty) {
  for (const char* json : {"{}", R"({"meta_info":null})", R"({"meta_info":{"routed_experts":null}})"}) {
    const auto out = read_sglang_reply(json, "t");
    ASSERT_TRUE(out) << out.error().message;
    EXPECT_TRUE(out->empty());
  }
}

TEST(VllmReply, NestedPromptAndCompletionAreJoined) {
  const auto out = read_vllm_reply(
      R"({"id":"v","prompt_routed_experts":[[[1],[2]],[[-1],[-1]]],"choices":[{"routed_experts":[[[3],[4]]]},{"routed_experts":null}]})",
      "t");
  ASSERT_TRUE(out) << out.error().message;
  ASSERT_EQ(out->size(), 2u);
  EXPECT_EQ((*out)[0].id, "v");
  EXPECT_EQ((*out)[0].prefill_rows, 2u);
  EXPECT_EQ(numbers((*out)[0].experts.ids), (std::vector<int>{1, 2, -1, -1, 3, 4}));
  EXPECT_EQ((*out)[1].id, "v/1");
  EXPECT_EQ((*out)[1].experts.rows, 2u);
  EXPECT_FALSE((*out)[0].all_layers);
}

TEST(VllmReply, NpyIsSplitByTheUsage) {
  const std::string npy = npy_base64({3, 2, 1}, {1, 2, 3, 4, 5, 6});
  const auto out = read_vllm_reply(
      fmt::format(R"({{"choices":[{{"routed_experts":"{}"}}],"usage":{{"prompt_tokens":2}}}})", npy), "t");
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_EQ(out->front().prefill_rows, 2u);
  EXPECT_EQ(out->front().experts.rows, 3u);
  expect_error(read_vllm_reply(fmt::format(R"({{"choices":[{{"routed_experts":"{}"}}]}})", npy), "t"),
               "prompt_tokens");
}

TEST(VllmReply, PartsOfDifferentShapeAreRefused) {
  expect_error(
      read_vllm_reply(R"({"prompt_routed_experts":[[[1]]],"choices":[{"routed_experts":[[[3],[4]]]}]})", "t"),
      "2 ids a row");
  expect_error(read_vllm_reply(R"({"choices":[{"routed_experts":7}]})", "t"), "routed_experts");
  expect_error(read_vllm_reply(R"({"choices":7})", "t"), "choices");
  expect_error(read_vllm_reply(R"({"choices":[)", "t"), "t: ");
  expect_error(read_vllm_reply(R"([])", "t"), "one JSON object");
  expect_error(read_vllm_reply(R"({} {})", "t"), "one JSON object");
}

TEST(RoutedExperts, AllZeroIsNotRouting) {
  EXPECT_TRUE(is_all_zero({.rows = 1, .width = 2, .top_k = 0, .ids = {ExpertId{0}, ExpertId{0}}}));
  EXPECT_FALSE(is_all_zero({.rows = 1, .width = 2, .top_k = 0, .ids = {ExpertId{0}, ExpertId{1}}}));
  EXPECT_FALSE(is_all_zero({}));
}

TEST(RoutedExperts, TheFixturesOfBothEnginesHoldTheSameTokens) {
  MOESAIC_NEEDS_SHARED("formats/vllm-completion-npy.json");
  const auto read = [](const std::string& name) {
    auto text = io::read_file(io::real_files(), testing::shared_data("formats/" + name), 1u << 20);
    EXPECT_TRUE(text);
    return *text;
  };
  const auto npy = read_vllm_reply(read("vllm-completion-npy.json"), "npy");
  const auto nested = read_vllm_reply(read("vllm-completion-nested.json"), "nested");
  const auto sglang = read_sglang_reply(read("sglang-generate.json"), "sglang");
  ASSERT_TRUE(npy && nested && sglang);
  const RoutedExperts& array = npy->front().experts;
  EXPECT_EQ(array.rows, 152u);
  EXPECT_EQ(array.width, 24u);
  EXPECT_EQ(array.top_k, 1u);
  std::uint64_t sum = 0;
  for (ExpertId id : array.ids) sum += index(id);
  EXPECT_EQ(sum, 247427u);
  EXPECT_EQ(nested->front().prefill_rows, 25u);
  EXPECT_EQ(nested->front().experts.rows, 25u + 127u);
  EXPECT_EQ(nested->front().experts.ids, array.ids);
  const RoutedExperts& planes = sglang->front().experts;
  ASSERT_EQ(planes.rows, 152u);
  ASSERT_EQ(planes.width, 48u);
  for (std::size_t i = 0; i < array.ids.size(); ++i) {
    ASSERT_EQ(planes.ids[2 * i], ExpertId{0});
    ASSERT_EQ(planes.ids[2 * i + 1], array.ids[i]);
  }
}

}  // namespace
}  // namespace moesaic::protocol
