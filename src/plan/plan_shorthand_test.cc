#include <gtest/gtest.h>

#include "plan/plan_file.h"

namespace pentafold {
namespace {

Plan short_plan(const std::string& text) {
  auto plan = parse_plan_shorthand(text);
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().to_string());
  return plan.ok() ? *plan : Plan{};
}

std::string short_complaint(const std::string& text) {
  const auto plan = parse_plan_shorthand(text);
  EXPECT_FALSE(plan.ok()) << "accepted: " << text;
  return plan.ok() ? "" : plan.error().to_string();
}

void expect_says(const std::string& said, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_NE(said.find(part), std::string::npos) << said;
}

TEST(PlanShorthand, EveryKey) {
  const Plan plan = short_plan(
      "pp=2, dp=3,sp=2,tp=4,ep=12,etp=2,replicas=2,placement=spread,microbatches=2,chunk=64,"
      "max_batch=9,kv_blocks=8,weights=f16,kv=bf16,capacity_factor=0.5,overflow=drop,device_memory="
      "80GB");
  ASSERT_EQ(plan.stages.size(), 2U);
  EXPECT_EQ(plan.stages[1].ranks(), 24);
  EXPECT_EQ(plan.stages[1].etp, 2);
  EXPECT_EQ(plan.stages[1].placement, PlacementStyle::Spread);
  EXPECT_EQ(plan.world(), 96);
  EXPECT_EQ(plan.prefill_chunk, 64);
  EXPECT_EQ(plan.max_batch, 9);
  EXPECT_EQ(plan.kv_blocks, 8);
  EXPECT_EQ(plan.weights, weights_in(NumberFormat::F16));
  EXPECT_EQ(plan.kv, NumberFormat::BF16);
  EXPECT_EQ(plan.capacity_factor, 0.5);
  EXPECT_EQ(plan.device_memory_bytes, 80'000'000'000);
}

TEST(PlanShorthand, InfersDpOnlyWhereTheQuotientIsWhole) {
  for (std::int64_t tp = 1; tp <= 8; ++tp) {
    for (std::int64_t ep = 1; ep <= 16; ++ep) {
      const Plan plan = short_plan("tp=" + std::to_string(tp) + ",ep=" + std::to_string(ep));
      EXPECT_EQ(plan.stages[0].dp, ep % tp == 0 ? ep / tp : 1) << tp << " " << ep;
    }
  }
  EXPECT_EQ(short_plan("tp=2,ep=4,dp=1").stages[0].dp, 1);
  EXPECT_EQ(short_plan("sp=2,tp=2,ep=4,etp=2").stages[0].dp, 2);
  EXPECT_EQ(short_plan("tp=2").stages[0].ep, 2);
}

TEST(PlanShorthand, RefusesWithASentence) {
  expect_says(short_complaint("tp"), {"--plan: ", "key=value"});
  expect_says(short_complaint(""), {"key=value"});
  expect_says(short_complaint("tp=2,,ep=4"), {"key=value"});
  expect_says(short_complaint("tpp=2"), {"unknown key", "did you mean \"tp\"?"});
  expect_says(short_complaint("microbatch=2"), {"did you mean \"microbatches\"?"});
  expect_says(short_complaint("tp=0"), {"outside 1 to 4096"});
  expect_says(short_complaint("tp=-2"), {"outside 1 to 4096"});
  expect_says(short_complaint("tp=4097"), {"outside 1 to 4096"});
  expect_says(short_complaint("tp=99999999999999999999"), {"outside 1 to 4096"});
  expect_says(short_complaint("tp=2x"), {"whole number"});
  expect_says(short_complaint("tp="), {"whole number"});
  expect_says(short_complaint("tp=2,tp=2"), {"appears twice"});
  expect_says(short_complaint("chunk=2,prefill_chunk=2"), {"appears twice"});
  expect_says(short_complaint("placement=explicit"), {"plan file"});
  expect_says(short_complaint("placement=spred"), {"did you mean \"spread\"?"});
  expect_says(short_complaint("capacity_factor=nan"), {"above 0"});
  expect_says(short_complaint("device_memory=0GB"), {"outside"});
  expect_says(short_complaint("ep=4096,etp=4096"), {"65536"});
  expect_says(short_complaint("dp=4096,sp=4096,tp=4096,pp=1024,replicas=65536"), {"65536"});
  expect_says(short_complaint(std::string(5000, 'a')), {"above the limit"});
}

}  // namespace
}  // namespace pentafold
