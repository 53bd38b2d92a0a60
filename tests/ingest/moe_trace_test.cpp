#include "ingest/moe_trace.hpp"

#include <fmt/format.h>

#include "support/document_text.hpp"

namespace moesaic::ingest {
namespace {

std::vector<int> numbers(const std::vector<ExpertId>& ids) {
  std::vector<int> out;
  for (ExpertId id : ids) out.push_back(static_cast<int>(index(id)));
  return out;
}

Result<ParsedDocument> parse(std::string_view text) {
  return parse_moe_trace(document_of("7.json", text), {});
}

void expect_refused(std::string_view text, const std::string& part) {
  const auto out = parse(text);
  ASSERT_FALSE(out) << text;
  EXPECT_EQ(out.error().kind, ErrorKind::kBadInput);
  EXPECT_NE(out.error().message.find("f/7.json: "), std::string::npos) << out.error().message;
  EXPECT_NE(out.error().message.find(part), std::string::npos) << out.error().message;
}

TEST(MoeTrace, PrefillRowsComeBeforeDecodeStepsAndNullLayersAreDense) {
  const auto out = parse(R"([{"0": null, "1": [[1, 2], [3, 4]], "2": [[5, 6], [7, 8]], "3": null},
                             {"0": null, "1": [[9, 10]], "2": [[11, 12]], "3": null}])");
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_EQ(out->planes, (std::vector<LayerId>{LayerId{1}, LayerId{2}}));
  EXPECT_EQ(out->model_layers, 4u);
  EXPECT_EQ(out->top_k, 2u);
  ASSERT_EQ(out->requests.size(), 1u);
  const ParsedRequest& request = out->requests[0];
  EXPECT_EQ(request.record.id, "f/7");
  EXPECT_EQ(request.record.domain, "f");
  EXPECT_EQ(request.record.prefill_tokens, 2u);
  EXPECT_EQ(request.record.decode_tokens, 1u);
  EXPECT_EQ(numbers(request.experts), (std::vector<int>{1, 2, 5, 6, 3, 4, 7, 8, 9, 10, 11, 12}));
}

TEST(MoeTrace, LayersMayComeInAnyOrder) {
  const auto out = parse(R"([{"2": [[5], [7]], "1": [[1], [3]]}, {"1": [[9]], "2": [[11]]}])");
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_EQ(numbers(out->requests[0].experts), (std::vector<int>{1, 5, 3, 7, 9, 11}));
}

TEST(MoeTrace, ARequestWithoutTokensIsLeftOutAndReported) {
  const auto out = parse(R"([{"1": []}])");
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_TRUE(out->empty());
  ASSERT_EQ(out->anomalies.size(), 1u);
  EXPECT_EQ(out->anomalies[0].kind, "dropped");
}

TEST(MoeTrace, EveryDefectIsNamed) {
  expect_refused("", "expected a JSON document");
  expect_refused("{}", "expected a list");
  expect_refused("[]", "an empty list");
  expect_refused("[7]", "expected an object of layers");
  expect_refused("[{}]", "no layer with experts");
  expect_refused(R"([{"0": null}])", "no layer with experts");
  expect_refused(R"([{"one": [[1]]}])", "key \"one\"");
  expect_refused(R"([{"-1": [[1]]}])", "key \"-1\"");
  expect_refused(R"([{"5000": [[1]]}])", "key \"5000\"");
  expect_refused(R"([{"1": 7}])", "expected null or rows of ids");
  expect_refused(R"([{"1": [7]}])", "expected a row of expert ids");
  expect_refused(R"([{"1": [["x"]]}])", "expected an expert id");
  expect_refused(R"([{"1": [[-1]]}])", "expected an expert id");
  expect_refused(R"([{"1": [[1.5]]}])", "expected an expert id");
  expect_refused(R"([{"1": [[65534]]}])", "expert id 65534, expected below 65534");
  expect_refused(R"([{"1": [[1152921504606846976]]}])", "expert id 1152921504606846976");
  expect_refused(R"([{"1": [[]]}])", "a row of 0 expert ids");
  expect_refused(R"([{"1": [[1],[1,2]]}])", "a row of 2 expert ids, expected 1");
  expect_refused(R"([{"1": [[1]], "1": [[2]]}])", "a layer twice");
  expect_refused(R"([{"1": [[1]], "2": [[1],[2]]}])", "layer 2 has 2 rows, expected 1");
  expect_refused(R"([{"1": [[1]]}, {"1": [[1],[2]]}])", "list element 1");
  expect_refused(R"([{"1": [[1]]}, {"1": [[1],[2]]}])", "2 rows in a decode step");
  expect_refused(R"([{"1": [[1]]}, {}])", "0 rows in a decode step");
  expect_refused(R"([{"1": [[1]]}, {"2": [[1]]}])", "layer 2, which the first element has not");
  expect_refused(R"([{"1": [[1]], "2": [[1]]}, {"1": [[1]], "1": [[1]]}])", "a layer twice");
  expect_refused(R"([{"1": [[1]], "2": [[1]]}, {"1": [[1]], "2": null}])", "experts in 1 layers, expected 2");
  expect_refused(R"([{"1": [[1]]}] [])", "expected the end of the document");
  expect_refused(R"([{"1": [[1]]})", "f/7.json");
  expect_refused("[{\"1\": [[1]], \"\xff\": null}]", "UTF");
  std::string wide = "[{\"1\": [[0";
  for (int i = 1; i < 65; ++i) wide += fmt::format(",{}", i);
  expect_refused(wide + "]]}]", "more than 64 expert ids");
}

// Layers, rows and ids of any size come back as they were written, pretty or not.
RC_GTEST_PROP(MoeTrace, WhatWasWrittenIsRead, ()) {
  const auto layers = *rc::gen::inRange<std::size_t>(1, 5);
  const auto k = *rc::gen::inRange<std::size_t>(1, 5);
  const auto prefill = *rc::gen::inRange<std::size_t>(1, 5);
  const auto decode = *rc::gen::inRange<std::size_t>(0, 4);
  const auto space = *rc::gen::element<std::string>("", " ", "\n    ");
  const auto ids =
      *rc::gen::container<std::vector<int>>((prefill + decode) * layers * k, rc::gen::inRange(0, 65534));
  const auto element = [&](std::size_t first, std::size_t rows) {
    std::string out = "{";
    for (std::size_t layer = 0; layer < layers; ++layer) {
      out += fmt::format("{}{}\"{}\":{}[", layer ? "," : "", space, 2 * layer + 1, space);
      for (std::size_t row = first; row < first + rows; ++row) {
        out += row == first ? "[" : ",[";
        for (std::size_t j = 0; j < k; ++j) {
          out += fmt::format("{}{}{}", j ? "," : "", space, ids[(row * layers + layer) * k + j]);
        }
        out += space + "]";
      }
      out += fmt::format("],{}\"{}\": null", space, 2 * layer);
    }
    return out + "}";
  };
  std::string text = "[" + element(0, prefill);
  for (std::size_t step = 0; step < decode; ++step) text += "," + space + element(prefill + step, 1);
  text += "]";
  const auto out = parse(text);
  RC_ASSERT(out.has_value());
  RC_ASSERT(out->requests.size() == 1u);
  RC_ASSERT(numbers(out->requests[0].experts) == ids);
  RC_ASSERT(out->requests[0].record.prefill_tokens == prefill);
  RC_ASSERT(out->requests[0].record.decode_tokens == decode);
  RC_ASSERT(out->model_layers == 2 * layers);
}

}  // namespace
}  // namespace moesaic::ingest
