#include "spec/workload.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace pentafold {
namespace {

std::string target_refusal(const std::string& text) {
  const auto result = parse_targets(text);
  return result.ok() ? "" : result.error().to_string();
}

std::string workload_refusal(const std::string& text) {
  const auto result = parse_workload(text, "w.yaml");
  return result.ok() ? "" : result.error().to_string();
}

void expect_says(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << "\"" << message << "\" lacks " << part;
  }
}

TEST(Targets, EveryKeyArrives) {
  const auto t = parse_targets(
      " ttft = 1s, tpot=20ms,tokens_per_s_per_gpu=1000,prefill_tokens_per_s_per_gpu=2e4,"
      "tokens_per_s=5000,dollars_per_mtok=0.5,memory_fraction=0.85,gpus=min");
  ASSERT_TRUE(t.ok()) << t.error().to_string();
  EXPECT_DOUBLE_EQ(t->ttft_s.value_or(0), 1.0);
  EXPECT_DOUBLE_EQ(t->tpot_s.value_or(0), 0.02);
  EXPECT_DOUBLE_EQ(t->tokens_per_s_per_gpu.value_or(0), 1000);
  EXPECT_DOUBLE_EQ(t->prefill_tokens_per_s_per_gpu.value_or(0), 2e4);
  EXPECT_DOUBLE_EQ(t->tokens_per_s.value_or(0), 5000);
  EXPECT_DOUBLE_EQ(t->dollars_per_mtok.value_or(0), 0.5);
  EXPECT_DOUBLE_EQ(t->memory_fraction, 0.85);
  EXPECT_EQ(t->objective, Objective::Gpus);
}

TEST(Targets, LimitsOfASimulatedWorkloadArrive) {
  const auto t = parse_targets("ttft_p99=2s,tpot_p50=20ms,itl_p90=1s,e2e_mean=30s,goodput=12/s");
  ASSERT_TRUE(t.ok()) << t.error().to_string();
  ASSERT_EQ(t->served.size(), 4U);
  EXPECT_EQ(t->served[0].metric, ServedMetric::Ttft);
  EXPECT_EQ(t->served[0].percent, 99);
  EXPECT_DOUBLE_EQ(t->served[0].seconds, 2);
  std::string names;
  for (const ServedLimit& limit : t->served) names += limit.name() + " ";
  EXPECT_EQ(names, "ttft_p99 tpot_p50 itl_p90 e2e_mean ");
  EXPECT_DOUBLE_EQ(t->goodput_per_s.value_or(0), 12);
  EXPECT_FALSE(t->ttft_s);
  expect_says(target_refusal("ttft_p99=2"), {"ttft_p99", "no unit"});
  expect_says(target_refusal("ttft_p99=0s"), {"ttft_p99", "above 0"});
  expect_says(target_refusal("ttft_p99=min"), {"ttft_p99"});
  expect_says(target_refusal("ttft_p99=1s,ttft_p99=2s"), {"ttft_p99 appears twice"});
  expect_says(target_refusal("ttft_p98=1s"), {"unknown target", "_p99"});
  expect_says(target_refusal("goodput=12"), {"goodput"});
}

TEST(Targets, NothingAskedIsTheDefault) {
  const auto t = parse_targets(" ");
  ASSERT_TRUE(t.ok());
  EXPECT_FALSE(t->ttft_s || t->tpot_s || t->tokens_per_s);
  EXPECT_EQ(t->objective, Objective::TokensPerSecondPerGpu);
}

TEST(Targets, ObjectivesReadBackAsTheyAreWritten) {
  for (const Objective objective : {Objective::TokensPerSecondPerGpu, Objective::Gpus,
                                    Objective::Cost, Objective::Ttft, Objective::Tpot}) {
    const auto t = parse_targets(to_string(objective));
    ASSERT_TRUE(t.ok()) << to_string(objective);
    EXPECT_EQ(t->objective, objective);
  }
}

TEST(Targets, RefusalsSayWhatWouldDo) {
  expect_says(target_refusal("ttft=1"), {"ttft", "no unit", "20ms"});
  expect_says(target_refusal("ttft=-1s"), {"ttft", "negative"});
  expect_says(target_refusal("ttft=0s"), {"ttft", "above 0"});
  expect_says(target_refusal("tpot=nan"), {"tpot", "a time", "\"nan\""});
  expect_says(target_refusal("ttfs=1s"), {"\"ttfs\"", "did you mean \"ttft\"", "tpot"});
  expect_says(target_refusal("ttft=1s,ttft=2s"), {"ttft appears twice"});
  expect_says(target_refusal("ttft=min,ttft=min"), {"contradict"});
  EXPECT_TRUE(parse_targets("ttft=1s,ttft=min").ok());
  expect_says(target_refusal("gpus=min,tpot=min"), {"gpus=min and tpot=min contradict"});
  expect_says(target_refusal("gpus=32"), {"gpus can only be min", "--gpus"});
  expect_says(target_refusal("gpus=max"), {"gpus cannot be max", "min can"});
  expect_says(target_refusal("tokens_per_s_per_gpu=min"), {"cannot be min", "max can"});
  expect_says(target_refusal("tokens_per_s=max"), {"give it a number"});
  expect_says(target_refusal("cost=3"), {"cost can only be min", "dollars_per_mtok"});
  expect_says(target_refusal("tokens_per_s=-1"), {"above 0"});
  expect_says(target_refusal("tokens_per_s=1e16"), {"at most 1e15"});
  expect_says(target_refusal("tokens_per_s=12tok"), {"must be a number", "\"12tok\""});
  expect_says(target_refusal("memory_fraction=1.5"), {"above 1"});
  expect_says(target_refusal("ttft"), {"\"ttft\" has no value"});
  expect_says(target_refusal("ttft=1s,"), {"has no value"});
  expect_says(target_refusal(std::string(10'000, ',')), {"10000 characters"});
}

TEST(Workload, EveryKeyArrives) {
  const auto batch = parse_workload("isl: 4000\nosl: 1000\nbatch: 64\nskew: 0.5\n", "w.yaml");
  ASSERT_TRUE(batch.ok()) << batch.error().to_string();
  EXPECT_EQ(batch->isl, 4000);
  EXPECT_EQ(batch->osl, 1000);
  EXPECT_EQ(batch->batch.value_or(0), 64);
  EXPECT_DOUBLE_EQ(batch->skew, 0.5);
  EXPECT_FALSE(batch->rate_per_s.has_value());
  const auto rate = parse_workload("isl: 1\nosl: 1\nrate: 30/min\n", "w.yaml");
  ASSERT_TRUE(rate.ok()) << rate.error().to_string();
  EXPECT_DOUBLE_EQ(rate->rate_per_s.value_or(0), 0.5);
}

TEST(Workload, RefusalsNameFileAndLine) {
  expect_says(workload_refusal("isl: 1\nosl: 2\nrate: 12\n"), {"w.yaml:3", "no unit", "12/s"});
  expect_says(workload_refusal("isl: 1\nosl: 2\nrate: -1/s\n"), {"w.yaml:3", "negative"});
  expect_says(workload_refusal("isl: 1\nosl: 2\nrate: 0/s\n"), {"w.yaml:3", "above 0"});
  expect_says(workload_refusal("isl: 0\nosl: 2\n"), {"w.yaml:1", "isl = 0"});
  expect_says(workload_refusal("isl: 10\n"), {"\"osl\" is missing"});
  expect_says(workload_refusal("isl: 10\nosl: 2\nbatsh: 3\n"), {"w.yaml:3", "batch"});
  expect_says(workload_refusal("isl: 1\nosl: 2\nbatch: 1\nrate: 1/s\n"), {"w.yaml:4", "keep"});
  expect_says(workload_refusal("isl: 1\nosl: 2\nskew: nan\n"), {"w.yaml:3", "skew"});
}

TEST(Workload, ExpertLoadIsFoundBesideTheWorkload) {
  const auto named = load_workload(PENTAFOLD_SOURCE_DIR "/specs/workloads/tiny-moe.yaml");
  ASSERT_TRUE(named.ok()) << named.error().to_string();
  ASSERT_NE(named->expert_load, nullptr);
  EXPECT_EQ(named->expert_load->experts, 16);
  EXPECT_EQ(named->expert_load->layers.size(), 8U);
  EXPECT_FALSE(named->even());
  expect_says(workload_refusal("isl: 1\nosl: 2\nexpert_load: no/such.csv\n"),
              {"w.yaml:3", "no/such.csv: no such file"});
  const std::string counts = PENTAFOLD_SOURCE_DIR "/specs/workloads/tiny-moe.experts.json";
  expect_says(workload_refusal("isl: 1\nosl: 2\nskew: 0.5\nexpert_load: " + counts + "\n"),
              {"w.yaml:4", "skew and expert_load", "keep one"});
  expect_says(workload_refusal("isl: 1\nosl: 2\nexpert_load: " PENTAFOLD_SOURCE_DIR
                               "/specs/workloads/chat.yaml\n"),
              {"w.yaml:3", "chat.yaml:1", "column"});
}

TEST(Workload, ExamplesOfTheCatalogAreReadable) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(PENTAFOLD_SOURCE_DIR "/specs/workloads")) {
    if (entry.path().extension() != ".yaml") continue;  // counts beside them
    const auto workload = load_workload(entry.path().string());
    ASSERT_TRUE(workload.ok()) << workload.error().to_string();
    EXPECT_TRUE(validate(*workload, {}).ok());
    ++files;
  }
  EXPECT_GE(files, 3);
  EXPECT_FALSE(load_workload("/nonexistent/w.yaml").ok());
}

TEST(Validate, RefusesWhatCannotBeMeant) {
  const Workload good{.isl = 100, .osl = 10, .batch = {}, .rate_per_s = {}, .skew = 0};
  ASSERT_TRUE(validate(good, {}).ok());
  const auto bad = [&](auto change) {
    Workload workload = good;
    Targets targets;
    change(workload, targets);
    const Status status = validate(workload, targets);
    return status.ok() ? std::string() : status.error().message;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_says(bad([](Workload& w, Targets&) { w.isl = 0; }), {"isl = 0"});
  expect_says(bad([](Workload& w, Targets&) { w.osl = -5; }), {"osl = -5"});
  expect_says(bad([](Workload& w, Targets&) { w.batch = 0; }), {"batch = 0"});
  expect_says(bad([&](Workload& w, Targets&) { w.rate_per_s = nan; }), {"rate"});
  expect_says(bad([&](Workload& w, Targets&) { w.skew = nan; }), {"skew"});
  expect_says(bad([&](Workload&, Targets& t) { t.ttft_s = nan; }), {"ttft"});
  expect_says(bad([](Workload&, Targets& t) { t.tpot_s = -1; }), {"tpot"});
  expect_says(bad([](Workload&, Targets& t) { t.memory_fraction = 0; }), {"memory_fraction"});
}

TEST(Validate, OneOutputTokenHasNoTpot) {
  const Workload one{.isl = 100, .osl = 1, .batch = {}, .rate_per_s = {}, .skew = 0};
  EXPECT_TRUE(validate(one, *parse_targets("ttft=1s")).ok());
  for (const char* text : {"tpot=20ms", "tpot=min"}) {
    const Status status = validate(one, *parse_targets(text));
    ASSERT_FALSE(status.ok());
    expect_says(status.error().message, {"osl = 1", "tpot"});
  }
}

TEST(Validate, NoMoreIsGeneratedThanArrives) {
  const Workload arriving{.isl = 100, .osl = 10, .batch = {}, .rate_per_s = 3, .skew = 0};
  EXPECT_TRUE(validate(arriving, *parse_targets("tokens_per_s=30")).ok());
  const Status status = validate(arriving, *parse_targets("tokens_per_s=31"));
  ASSERT_FALSE(status.ok());
  expect_says(status.error().message, {"only 30 tokens/s"});
}

}  // namespace
}  // namespace pentafold
