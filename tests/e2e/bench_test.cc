// `pentafold bench` on a tiny model: that rows are there and agree with each other; no time is
// judged.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "e2e/pentafold.h"
#include "e2e/refusal.h"

namespace pentafold::testing {
namespace {

const std::string kModel = "models/tiny-moe";

TEST(Bench, EveryPlanThreadsAndJobHasARow) {
  const ProcessResult result = pentafold(
      {"bench", "--quick", "--model", kModel, "--plan", "tp=1", "--plan", "tp=2,ep=4", "--threads",
       "1,2", "--prefill", "16,40", "--decode", "1,3", "--context", "8", "--steps", "2", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  ASSERT_EQ(json["rows"].size(), 2U * 2U * 4U);
  for (const auto& row : json["rows"]) {
    const double seconds = row["seconds"];
    ASSERT_GT(seconds, 0.0);
    EXPECT_NEAR(row["tokens_per_s"].get<double>() * seconds, row["size"].get<double>(), 1e-6);
    bool found = false;
    for (const auto& limit : json["limits"]) {
      if (limit["threads"] != row["limit_threads"]) continue;
      found = true;
      EXPECT_NEAR(row["of_fma_peak"].get<double>() * limit["flops"].get<double>() * seconds,
                  row["flop"].get<double>(), 1e-6 * row["flop"].get<double>());
      EXPECT_NEAR(
          row["of_memory_bandwidth"].get<double>() * limit["bytes_per_s"].get<double>() * seconds,
          row["bytes"].get<double>(), 1e-6 * row["bytes"].get<double>());
    }
    EXPECT_TRUE(found);
    double share = 0;
    for (const auto& time : row["operators"]) share += time["share"].get<double>();
    EXPECT_NEAR(share, 1, 1e-9);
    EXPECT_GT(row["operators"]["expert_mlp"]["flop"], 0.0);
    EXPECT_EQ(row["samples"].size(), row["kind"] == "decode" ? 2U : 1U);
  }
}

TEST(Bench, TheTableNamesLimitsAndSteps) {
  const ProcessResult result = pentafold(
      {"bench", "--quick", "--model", kModel, "--prefill", "16", "--decode", "0", "--profile"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"limits of", "of peak", "of memory", "prefill 16", "expert_mlp"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part;
  }
}

TEST(Bench, TheCacheIsHeldAsTheModelUnlessThePlanSaysOtherwise) {
  const auto named = [](const std::string& plan) {
    const ProcessResult result = pentafold({"bench", "--quick", "--model", kModel, "--plan", plan,
                                            "--prefill", "16", "--decode", "0", "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out)["rows"][0]["plan"].get<std::string>();
  };
  EXPECT_TRUE(named("tp=1").ends_with(" kv bf16")) << named("tp=1");
  EXPECT_TRUE(named("tp=1,kv=int8").ends_with(" kv int8")) << named("tp=1,kv=int8");
}

TEST(Bench, RunShowsItsProfileAndThreadsKeepTheBits) {
  const auto run = [](const std::string& threads) {
    return pentafold({"run", "--plan", "tp=2", "--model", kModel, "--prompt-ids", "1,2,3",
                      "--max-tokens", "3", "--logits-hash", "--profile", "--threads", threads});
  };
  const ProcessResult one = run("1");
  const ProcessResult three = run("3");
  const ProcessResult pinned =
      pentafold({"run", "--plan", "tp=2", "--model", kModel, "--prompt-ids", "1,2,3",
                 "--max-tokens", "3", "--logits-hash", "--threads", "2", "--pin"});
  ASSERT_EQ(pinned.exit_code, 0) << pinned.err;
  EXPECT_EQ(one.out, pinned.out);
  ASSERT_EQ(one.exit_code, 0) << one.err;
  ASSERT_EQ(three.exit_code, 0) << three.err;
  EXPECT_EQ(one.out, three.out);
  EXPECT_NE(one.err.find("decode, all ranks"), std::string::npos) << one.err;
  EXPECT_NE(one.err.find("lm_head"), std::string::npos) << one.err;
}

TEST(Bench, WhatCannotBeMeasuredIsRefused) {
  EXPECT_TRUE(refused(pentafold({"bench"}), {"--model"}));
  EXPECT_TRUE(refused(pentafold({"bench", "--model", kModel, "--prefill", "0", "--decode", "0"}),
                      {"nothing to measure"}));
  EXPECT_TRUE(refused(pentafold({"bench", "--model", kModel, "--prefill", "999999"}),
                      {"positions", "--prefill"}));
  EXPECT_TRUE(refused(pentafold({"bench", "--model", kModel, "--plan", "tp=3"}), {"heads"}));
  EXPECT_TRUE(refused(pentafold({"bench", "--model", kModel, "--threads", "0"}), {"--threads"}));
  EXPECT_TRUE(refused(pentafold({"bench", "--quick", "--model", kModel, "--device", "abacus"}),
                      {"abacus"}));
}

}  // namespace
}  // namespace pentafold::testing
