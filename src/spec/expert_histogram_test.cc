#include "spec/expert_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "spec/load_shape.h"

namespace pentafold {
namespace {

std::string refusal(const std::string& text) {
  const auto result = parse_expert_histogram(text, "h");
  return result.ok() ? "" : result.error().to_string();
}

void expect_says(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << "\"" << message << "\" lacks " << part;
  }
}

TEST(ExpertHistogram, RowsOfALayerAndExpertAddUpInAnyOrder) {
  const std::string rows[] = {"intent,3,0,5,0.1\n", "intent,1,2,7,0.2\n", "law,3,0,6,0.3\n",
                              "law,3,1,1,0.4\n"};
  std::vector<int> order = {0, 1, 2, 3};
  do {
    std::string text = "task,moe_layer,expert,count,weight_sum\n";
    for (const int i : order) text += rows[i];
    const auto got = parse_expert_histogram(text, "h");
    ASSERT_TRUE(got.ok()) << got.error().to_string();
    EXPECT_EQ(got->experts, 3);
    EXPECT_EQ(got->layers, (std::vector<std::int64_t>{1, 3}));
    EXPECT_EQ(got->counts, (std::vector<std::int64_t>{0, 0, 7, 11, 1, 0}));
  } while (std::ranges::next_permutation(order).found);
}

TEST(ExpertHistogram, CsvAndRunSayTheSame) {
  const auto csv =
      parse_expert_histogram("count,expert,layer\r\n4,0,1\r\n2,1,1\r\n\r\n0,0,2\r\n6,1,2\r\n", "h");
  const auto json = parse_expert_histogram(
      R"({"plan": "x", "routing": [{"layer": 2, "chosen": [0, 6], "tokens": 3},
          {"layer": 1, "chosen": [4, 2], "max_over_mean": 1.3}]})",
      "h");
  ASSERT_TRUE(csv.ok()) << csv.error().to_string();
  ASSERT_TRUE(json.ok()) << json.error().to_string();
  EXPECT_EQ(*csv, *json);
}

TEST(ExpertHistogram, RefusalsNameFileAndPlace) {
  expect_says(refusal(""), {"h:", "is empty"});
  expect_says(refusal("layer,count\n"), {"h:1", "\"expert\""});
  expect_says(refusal("a,b,c\n"), {"h:1", "\"layer\""});
  expect_says(refusal("layer,expert,count\n"), {"h", "counts no expert"});
  expect_says(refusal("layer,expert,count\n0,1,2\n0,1\n"), {"h:3", "2 cells", "3"});
  expect_says(refusal("layer,expert,count\nidx0,1,2\n"), {"h:2", "layer", "\"idx0\""});
  expect_says(refusal("layer,expert,count\n0,-1,2\n"), {"h:2", "expert", "\"-1\""});
  expect_says(refusal("layer,expert,count\n0,1,2.5\n"), {"h:2", "count", "\"2.5\""});
  expect_says(refusal("layer,expert,count\n0,1,99999999999999999999\n"), {"h:2", "count"});
  expect_says(refusal("layer,expert,count\n5000,1,1\n"), {"h:2", "layer", "4095"});
  expect_says(refusal("layer,expert,count\n0,1,0\n1,1,1\n"), {"layer 0", "every count is 0"});
  expect_says(refusal("layer,expert,count,model\n0,1,1,a\n0,2,1,b\n"),
              {"h:3", "model \"b\" after \"a\"", "keep"});
  expect_says(refusal("kind,layer,expert,count\ntop1,0,1,1\ntopk,0,2,1\n"), {"h:3", "kind"});
  std::string wide = "layer,expert,count\n";
  for (int layer = 0; layer < 100; ++layer) wide += std::to_string(layer) + ",65535,1\n";
  expect_says(refusal(wide), {"100 layers of 65536 experts"});
}

TEST(ExpertHistogram, RefusalsOfARunNameTheKey) {
  expect_says(refusal("{"), {"h:1", "JSON"});
  expect_says(refusal("{}"), {"routing", "pentafold run"});
  expect_says(refusal(R"({"routing": 3})"), {"routing"});
  expect_says(refusal(R"({"routing": []})"), {"counts no expert"});
  expect_says(refusal(R"({"routing": [4]})"), {"routing[0]"});
  expect_says(refusal(R"({"routing": [{"chosen": [1]}]})"), {"routing[0].layer"});
  expect_says(refusal(R"({"routing": [{"layer": 0}]})"), {"routing[0].chosen", "missing"});
  expect_says(refusal(R"({"routing": [{"layer": 0, "chosen": [1, -2]}]})"), {"chosen", "-2"});
  expect_says(refusal(R"({"routing": [{"layer": 0, "chosen": []}]})"), {"chosen", "0 experts"});
  expect_says(refusal(R"({"routing": [{"layer": 0, "chosen": [1, 2]},
                                      {"layer": 1, "chosen": [1]}]})"),
              {"routing[1].chosen", "1 experts", "2"});
  expect_says(refusal(R"({"routing": [{"layer": 0, "chosen": [1]}, {"layer": 0, "chosen": [1]}]})"),
              {"routing[1].layer", "already"});
}

TEST(ExpertHistogram, FitsTheModelItCounts) {
  const auto model = load_shape("mixtral-8x7b");
  ASSERT_TRUE(model.ok()) << model.error().to_string();
  const auto fits = [&](const std::string& rows) {
    const auto histogram = parse_expert_histogram("layer,expert,count\n" + rows, "h");
    EXPECT_TRUE(histogram.ok());
    const Status status = check_fits(*histogram, model->model);
    return status.ok() ? std::string() : status.error().to_string();
  };
  EXPECT_EQ(fits("0,0,1\n31,7,2\n"), "");
  expect_says(fits("32,0,1\n"), {"h", "layer 32", "0 to 31"});
  expect_says(fits("0,8,1\n"), {"expert 8", "0 to 7"});
  const auto dense_first = load_shape("deepseek-v3");
  ASSERT_TRUE(dense_first.ok());
  const auto early = parse_expert_histogram("layer,expert,count\n2,0,1\n", "h");
  ASSERT_TRUE(early.ok());
  const Status status = check_fits(*early, dense_first->model);
  ASSERT_FALSE(status.ok());
  expect_says(status.error().to_string(), {"layer 2", "no experts"});
}

}  // namespace
}  // namespace pentafold
