#include "plan/plan.h"

#include <gtest/gtest.h>

#include "plan/plan_file.h"

namespace pentafold {
namespace {

Plan parsed(const std::string& yaml) {
  auto plan = parse_plan(yaml, "plans/some.yaml");
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().to_string());
  return plan.ok() ? *plan : Plan{};
}

Plan short_plan(const std::string& text) {
  auto plan = parse_plan_shorthand(text);
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().to_string());
  return plan.ok() ? *plan : Plan{};
}

void expect_says(const std::string& said, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_NE(said.find(part), std::string::npos) << said;
}

TEST(ResolveLayers, SplitsEvenlyWithTheEarlierStagesFirst) {
  for (std::int64_t pp = 1; pp <= 9; ++pp) {
    for (std::int64_t layers = pp; layers <= 40; ++layers) {
      Plan plan = short_plan("pp=" + std::to_string(pp));
      ASSERT_TRUE(resolve_layers(plan, layers).ok());
      std::int64_t sum = 0;
      for (const StagePlan& stage : plan.stages) sum += stage.layers;
      EXPECT_EQ(sum, layers);
      for (std::size_t i = 1; i < plan.stages.size(); ++i) {
        EXPECT_LE(plan.stages[i].layers, plan.stages[i - 1].layers);
      }
      EXPECT_LE(plan.stages.front().layers - plan.stages.back().layers, 1);
      EXPECT_TRUE(resolve_layers(plan, layers).ok()) << "a second time changes nothing";
    }
  }
}

TEST(ResolveLayers, RefusesWhatDoesNotAddUp) {
  Plan plan = short_plan("pp=4");
  const Status few = resolve_layers(plan, 3);
  ASSERT_FALSE(few.ok());
  EXPECT_EQ(few.error().code, ErrorCode::InfeasiblePlan);
  expect_says(few.error().to_string(), {"3 layers", "4 stages"});
  Plan given = parsed("stages:\n  - {layers: 2}\n  - {layers: 3}\n");
  EXPECT_TRUE(resolve_layers(given, 5).ok());
  const Status wrong = resolve_layers(given, 6);
  ASSERT_FALSE(wrong.ok());
  expect_says(wrong.error().to_string(), {"plans/some.yaml:2: ", "5 layers", "has 6"});
}

TEST(Plan, DescribeNamesEveryDegree) {
  EXPECT_EQ(describe(short_plan("pp=4,dp=16,sp=2,tp=2,ep=64,replicas=4")),
            "pp4 dp16 sp2 tp2 ep64 etp1 x4");
  EXPECT_EQ(describe(short_plan("tp=2,ep=4,placement=spread")), "pp1 dp2 sp1 tp2 ep4 etp1 spread");
  EXPECT_EQ(describe(parsed("stages: [{layers: 1, tp: 2, repeat: 2}, {layers: 3}]")),
            "pp3 2*(dp1 sp1 tp2 ep2 etp1) + 1*(dp1 sp1 tp1 ep1 etp1)");
}

TEST(Plan, OneRankPlanKeepsTheWorkAndDropsTheSpread) {
  Plan plan = short_plan(
      "pp=2,tp=2,ep=4,replicas=2,microbatches=2,chunk=8,kv_blocks=3,weights=f32,kv=int8,"
      "capacity_factor=2,overflow=next_best,device_memory=1GB");
  plan.model = "m";
  plan.requests.requests = 3;
  const Plan one = one_rank_plan(plan, 7);
  EXPECT_EQ(one.world(), 1);
  ASSERT_EQ(one.stages.size(), 1U);
  EXPECT_EQ(one.stages[0].layers, 7);
  EXPECT_EQ(one.stages[0].ep * one.stages[0].etp, 1);
  EXPECT_EQ(one.microbatches, 1);
  EXPECT_EQ(one.kv_blocks, 0);
  EXPECT_EQ(one.device_memory_bytes, 0);
  EXPECT_EQ(one.prefill_chunk, 8);
  EXPECT_EQ(one.weights, weights_in(NumberFormat::F32));
  EXPECT_EQ(one.kv, NumberFormat::INT8);
  EXPECT_EQ(one.capacity_factor, 2.0);
  EXPECT_EQ(one.overflow, OverflowPolicy::NextBest);
  EXPECT_EQ(one.model, "m");
  EXPECT_EQ(one.requests.requests, 3);
}

}  // namespace
}  // namespace pentafold
