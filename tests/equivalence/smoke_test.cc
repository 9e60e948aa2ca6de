// The shortest statement of the promise: one plan of each kind against one rank.
#include <gtest/gtest.h>

#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

TEST(Smoke, EveryDegreeAloneGivesTheBitsOfOneRank) {
  for (const ModelSpec& model : tiny_models()) {
    const Scenario scenario{{9, 20, 5}, 3, 512, 8, {}, {}};
    const Outcome one = PlanRunner(make_plan({}, model), model).run(scenario);
    EXPECT_EQ(one.logit_rows, 9 + 20 + 5 + 3 * 2);
    for (const Degrees& degrees :
         {Degrees{2, 1, 1, 1, 1, 1}, Degrees{1, 2, 1, 1, 1, 1}, Degrees{1, 1, 2, 1, 1, 1},
          Degrees{1, 1, 1, 2, 1, 1}, Degrees{1, 1, 1, 2, 2, 1}, Degrees{1, 1, 1, 2, 1, 2},
          Degrees{2, 1, 2, 2, 2, 2}}) {
      EXPECT_EQ(PlanRunner(make_plan(degrees, model), model).run(scenario), one)
          << model.name << " " << to_string(degrees);
    }
  }
}

}  // namespace
}  // namespace pentafold::testing
