// Every plan that folds passes verify, whatever the model and the placement.
#include <gtest/gtest.h>

#include "support/run_plan.h"
#include "support/tiny_models.h"
#include "verify/verify.h"

namespace pentafold::testing {
namespace {

class VerifyProperty : public ::testing::TestWithParam<PlacementStyle> {};

TEST_P(VerifyProperty, EveryLegalPlanPasses) {
  for (const ModelSpec& model : tiny_models()) {
    const std::vector<Degrees> all = legal_degrees(model, 8, GetParam());
    ASSERT_GT(all.size(), 20U) << model.name;
    for (const Degrees& degrees : all) {
      const Plan plan = make_plan(degrees, model, GetParam());
      const Verdict verdict = verify(plan, model);
      ASSERT_TRUE(verdict.ok()) << to_string(degrees) << "\n"
                                << format_verdict(verdict, plan, model.name);
      EXPECT_EQ(verdict.ranks, plan.world());
      EXPECT_EQ(verdict.model_parameters, count_params(model).total);
      EXPECT_GE(verdict.held_parameters, static_cast<double>(verdict.model_parameters));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Placements, VerifyProperty,
                         ::testing::Values(PlacementStyle::Blocked, PlacementStyle::Spread),
                         [](const auto& info) {
                           return info.param == PlacementStyle::Blocked ? "Blocked" : "Spread";
                         });

// Two stages with every pair of attention meshes: hand-overs between unlike stages bring each row.
TEST(VerifyProperty, UnlikeStagesPass) {
  const ModelSpec model = tiny_mixtral();
  const std::vector<Degrees> all = legal_degrees(model, 8, PlacementStyle::Blocked);
  std::int64_t pairs = 0;
  for (const Degrees& a : all) {
    for (const Degrees& b : all) {
      if (a.pp != 1 || b.pp != 1 || a.ep * a.etp != 1 || b.ep * b.etp != 1) continue;
      Plan plan = make_plan(a, model);
      plan.stages.push_back(make_plan(b, model).stages.front());
      plan.stages[0].layers = 1;
      plan.stages[1].layers = model.num_layers() - 1;
      plan.replicas = 2;
      const Verdict verdict = verify(plan, model);
      ASSERT_TRUE(verdict.ok()) << format_verdict(verdict, plan, model.name);
      ++pairs;
    }
  }
  EXPECT_GT(pairs, 100);
}

// A fleet: 1024 ranks of a 64-layer model with 256 experts.
TEST(VerifyProperty, AThousandRanksPass) {
  ModelSpec model = tiny_qwen2_moe();
  model.heads = 64;
  model.kv_heads = 8;
  model.experts = 256;
  model.shared_hidden = 48;
  model.layers.assign(64, LayerSpec{true, 0});
  const Plan plan = make_plan({4, 16, 2, 8, 256, 1}, model);
  const Verdict verdict = verify(plan, model);
  EXPECT_TRUE(verdict.ok()) << format_verdict(verdict, plan, model.name);
  EXPECT_EQ(verdict.ranks, 1024);
}

}  // namespace
}  // namespace pentafold::testing
