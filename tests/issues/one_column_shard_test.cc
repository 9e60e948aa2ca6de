// A shard of a matrix that is one column wide was taken for a vector, and execution stopped when it
// was multiplied.
#include <gtest/gtest.h>

#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

TEST(OneColumnShard, RunsLikeOneRank) {
  ModelSpec model = tiny_mixtral();
  model.expert_hidden = 4;  // etp 4 leaves each shard of an expert one hidden unit
  Scenario scenario;
  scenario.prompt_lengths = {7, 3};
  PlanRunner whole(make_plan({1, 1, 1, 1, 1, 1}, model), model);
  PlanRunner cut(make_plan({1, 2, 1, 2, 1, 4}, model), model);
  EXPECT_EQ(cut.run(scenario), whole.run(scenario));
}

}  // namespace
}  // namespace pentafold::testing
