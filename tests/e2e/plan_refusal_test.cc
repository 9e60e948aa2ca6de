// Questions to `plan`, `models` and `clusters` that cannot be meant: refused in one sentence, with
// the nearest valid name where there is one.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "e2e/checkpoint_edits.h"
#include "e2e/pentafold.h"
#include "e2e/refusal.h"

namespace pentafold::testing {
namespace {

struct BadQuestion {
  std::string name;
  std::vector<std::string> changes;  // option, value; an empty value takes the option away
  std::string says;
};

void PrintTo(const BadQuestion& question, std::ostream* out) {
  *out << question.name;
}

// A good question with the changes.
std::vector<std::string> asked(const BadQuestion& question) {
  std::vector<std::pair<std::string, std::string>> options = {{"--model", "qwen3-30b-a3b"},
                                                              {"--gpu", "h200-sxm"},
                                                              {"--gpus", "8"},
                                                              {"--isl", "4000"},
                                                              {"--osl", "1000"}};
  for (std::size_t i = 0; i + 1 < question.changes.size(); i += 2) {
    const std::string& option = question.changes[i];
    std::erase_if(options, [&](const auto& given) { return given.first == option; });
    if (!question.changes[i + 1].empty()) options.emplace_back(option, question.changes[i + 1]);
  }
  std::vector<std::string> line = {"plan"};
  for (const auto& [option, value] : options) line.push_back(fmt::format("{}={}", option, value));
  return line;
}

std::vector<BadQuestion> bad_expert_loads() {
  return {
      {"ExpertLoadMissing", {"--expert-load", "no/such.csv"}, "no/such.csv: no such file"},
      {"ExpertLoadOfNoCounts",
       {"--expert-load", "specs/gpus.yaml"},
       "specs/gpus.yaml:1: the header"},
      {"ExpertLoadAndSkew",
       {"--expert-load", "specs/workloads/tiny-moe.experts.json", "--skew", "1"},
       "give one"},
      {"ExpertLoadOfAnotherModel",
       {"--expert-load", "specs/workloads/tiny-moe.experts.json", "--model", "mixtral-8x7b"},
       "counts expert 15"},
  };
}

std::vector<BadQuestion> bad_questions() {
  return {
      {"NoModel", {"--model", ""}, "no model: give --model"},
      {"ModelUnknown", {"--model", "qwen3-30b-a3c"}, "did you mean \"qwen3-30b-a3b\"?"},
      {"ModelFileMissing", {"--model", "no/such/config.json"}, "no/such/config.json"},
      {"NoFleet", {"--gpu", ""}, "no fleet: give --gpu NAME"},
      {"GpuUnknown", {"--gpu", "h201-sxm"}, "did you mean \"h200-sxm\"?"},
      {"GpuAmbiguous", {"--gpu", "mi3"}, "mi300x"},
      {"ClusterUnknown", {"--gpu", "", "--cluster", "dgx-h201"}, "did you mean \"dgx-h200\"?"},
      {"GpuAndCluster", {"--cluster", "dgx-h200"}, "not both"},
      {"ClusterOfNoCluster", {"--gpu", "", "--cluster", "specs/gpus.yaml"}, "specs/gpus.yaml:"},
      {"GpusZero", {"--gpus", "0"}, "--gpus must be \"min\" or a number from 1"},
      {"GpusNegative", {"--gpus", "-8"}, "not \"-8\""},
      {"GpusMisspelt", {"--gpus", "mim"}, "not \"mim\""},
      {"GpusBeyondNumbers", {"--gpus", "100000000000000000000"}, "from 1 to"},
      {"NoWorkload", {"--osl", ""}, "no workload: give --isl and --osl"},
      {"WorkloadMissing", {"--workload", "no/such.yaml"}, "no/such.yaml: no such file"},
      {"PromptEmpty", {"--isl", "0"}, "--isl must be a number of tokens"},
      {"PromptNegative", {"--isl", "-1"}, "--isl must be a number of tokens"},
      {"PromptWithUnit", {"--isl", "4k"}, "--isl"},
      {"AnswerNegative", {"--osl", "-5"}, "--osl must be a number of tokens"},
      {"LongerThanPositions", {"--isl", "40000"}, "more than the 40960 positions"},
      {"BatchZero", {"--batch", "0"}, "batch = 0 must be"},
      {"RateWithoutUnit", {"--rate", "12"}, "has no unit; write a rate such as 12/s"},
      {"RateNegative", {"--rate", "-12/s"}, "is negative"},
      {"RateAndBatch", {"--rate", "12/s", "--batch", "64"}, "batch and rate are both given"},
      {"RateBelowTokens",
       {"--rate", "12/s", "--target", "tokens_per_s=50000"},
       "contradict each other"},
      {"SkewNegative", {"--skew", "-1"}, "skew = -1 must be 0"},
      {"SkewNan", {"--skew", "nan"}, "skew = nan must be 0"},
      {"TargetWithoutUnit", {"--target", "ttft=1"}, "has no unit; write a time such as 20ms"},
      {"TargetNegative", {"--target", "ttft=-1s"}, "is negative"},
      {"TargetNan", {"--target", "tpot=nan"}, "not \"nan\""},
      {"TargetBeyondNumbers", {"--target", "tpot=1e999s"}, "not \"1e999s\""},
      {"TargetUnknown", {"--target", "tfft=1s"}, "did you mean \"ttft\"?"},
      {"TargetTwice", {"--target", "ttft=1s,ttft=2s"}, "target ttft appears twice"},
      {"TargetWithoutValue", {"--target", "ttft"}, "has no value"},
      {"TwoObjectives", {"--target", "gpus=min,cost=min"}, "only one thing can be best"},
      {"ObjectiveTheWrongWay", {"--target", "tokens_per_s_per_gpu=min"}, "cannot be min"},
      {"MemoryBeyondAll", {"--target", "memory_fraction=1.5"}, "above 1"},
      {"TpotOfOneToken", {"--osl", "1", "--target", "tpot=1ms"}, "osl = 1 and a tpot target"},
      {"DecodePoolOfOneToken", {"--osl", "1", "--mode", "disaggregated"}, "nothing is decoded"},
      {"PriceUnknown", {"--target", "cost=min"}, "give --dollars-per-hour"},
      {"PriceNegative", {"--dollars-per-hour", "-3"}, "must be above 0"},
      {"PriceNan", {"--dollars-per-hour", "nan"}, "must be above 0"},
      {"PrecisionUnknown", {"--precision", "fp9"}, "did you mean \"fp8\"?"},
      {"CacheFormatUnknown", {"--kv", "fp9"}, "did you mean \"fp8\"?"},
      {"ModeUnknown", {"--mode", "agregated"}, "did you mean \"aggregated\"?"},
      {"NoExpertATime", {"--top-k", "0"}, "--top-k must be 1 to 128"},
      {"MoreExpertsThanThereAre", {"--top-k", "129"}, "--top-k must be 1 to 128"},
      {"TopKWithoutExperts", {"--model", "llama-3.1-8b", "--top-k", "1"}, "models with experts"},
      {"ThreadsNone", {"--threads", "0"}, "--threads"},
      {"OptionUnknown", {"--gpuz", "8"}, "--gpuz"},
      {"OutNowhere", {"--out", "/no/such/folder/plan.yaml"}, "cannot be written"},
  };
}

class BadQuestionTest : public ::testing::TestWithParam<BadQuestion> {};

TEST_P(BadQuestionTest, IsRefusedInOneSentence) {
  EXPECT_TRUE(refused(pentafold(asked(GetParam())), {GetParam().says}));
}

INSTANTIATE_TEST_SUITE_P(Plan, BadQuestionTest, ::testing::ValuesIn(bad_questions()),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(ExpertLoad, BadQuestionTest, ::testing::ValuesIn(bad_expert_loads()),
                         [](const auto& info) { return info.param.name; });

TEST(BadQuestion, WithoutTheChangesItIsAnswered) {
  EXPECT_EQ(pentafold(asked({})).exit_code, 0);
}

struct BadConfig {
  std::string json;
  std::string says;
};

TEST(BadConfig, NamesTheFieldThatIsMissing) {
  const std::vector<BadConfig> configs = {
      {"", "config.json"},
      {"{}", "model_type is missing"},
      {R"({"model_type": "qwen3_mo"})", "did you mean \"qwen3_moe\"?"},
      {R"({"model_type": "qwen3_moe", "hidden_size": 2048})", "is missing"},
      {R"({"model_type": 7})", "model_type"},
      {"[1, 2", "config.json"},
  };
  for (const BadConfig& config : configs) {
    SCOPED_TRACE(config.json);
    const ScratchFolder folder;
    folder.write("config.json", config.json);
    EXPECT_TRUE(refused(pentafold(asked({"", {"--model", folder.path()}, ""})),
                        {"config.json", config.says}));
  }
}

TEST(BadConfig, EveryFieldThatCountsIsMissed) {
  const ScratchFolder folder;
  const Json whole = Json::parse(read_bytes(repo("tests/golden/mixtral/config.json")));
  for (const char* field : {"hidden_size", "num_hidden_layers", "num_attention_heads",
                            "intermediate_size", "vocab_size"}) {
    SCOPED_TRACE(field);
    ASSERT_TRUE(whole.contains(field));
    Json without = whole;
    without.erase(field);
    folder.write("config.json", without.dump());
    EXPECT_TRUE(refused(pentafold(asked({"", {"--model", folder.path()}, ""})),
                        {"config.json", field, "is missing"}));
    without[field] = -4;
    folder.write("config.json", without.dump());
    EXPECT_TRUE(
        refused(pentafold(asked({"", {"--model", folder.path()}, ""})), {"config.json", field}));
  }
}

TEST(Catalog, UnknownNamesAreAnsweredWithTheNearest) {
  EXPECT_TRUE(refused(pentafold({"models", "deepseek-v33"}), {"did you mean \"deepseek-v3\"?"}));
  EXPECT_TRUE(refused(pentafold({"clusters", "dgx-h201"}), {"did you mean \"dgx-h200\"?"}));
  EXPECT_EQ(pentafold({"models", "deepseek-v3"}).exit_code, 0);
  EXPECT_EQ(pentafold({"clusters", "dgx-h200"}).exit_code, 0);
  EXPECT_EQ(pentafold({"clusters", "h200-sxm"}).exit_code, 0);
}

}  // namespace
}  // namespace pentafold::testing
