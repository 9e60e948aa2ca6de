// An explicit placement for an expert or a layer that the model does not have (a typing error) was
// ignored without a word.
#include <gtest/gtest.h>

#include "plan/placement.h"
#include "support/tiny_models.h"

namespace pentafold {
namespace {

TEST(Issues, APlacementOfAnAbsentExpertIsRefusedAtItsLine) {
  const ModelSpec model = testing::tiny_mixtral();  // 4 layers, 8 experts
  Plan plan;
  plan.file = "some.yaml";
  StagePlan stage;
  stage.placement = PlacementStyle::Explicit;
  for (std::int64_t e = 0; e < model.experts; ++e) {
    stage.explicit_placement.push_back({-1, e, {{{0}, false}}, 7});
  }
  ASSERT_TRUE(Placement::build(plan, stage, {0, 4}, model).ok());
  for (const auto& [layer, expert] : {std::pair{-1, 8}, {4, 0}, {0, -1}}) {
    StagePlan wrong = stage;
    wrong.explicit_placement.push_back({layer, expert, {{{0}, true}}, 31});
    const auto refused = Placement::build(plan, wrong, {0, 4}, model);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::InfeasiblePlan);
    EXPECT_EQ(refused.error().line, 31);
  }
}

}  // namespace
}  // namespace pentafold
