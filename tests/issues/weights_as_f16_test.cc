// `weights: f16` was accepted by the plan reader and ended in a CHECK when weights were converted.
#include <gtest/gtest.h>

#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

TEST(WeightsAsF16, ConvertsFromEveryStoredType) {
  for (const DType stored : {DType::F32, DType::BF16, DType::F16}) {
    for (const DType wanted : {DType::F32, DType::BF16, DType::F16}) {
      ModelSpec model = tiny_mixtral();
      model.dtype = stored;
      Plan plan = make_plan({1, 1, 1, 2, 2, 1}, model);
      plan.weights = weights_in(number_format_of(wanted));
      const Scenario scenario{{5}, 2, 512, 8, {}, {}};
      const Plan one = one_rank_plan(plan, model.num_layers());
      EXPECT_EQ(PlanRunner(plan, model).run(scenario), PlanRunner(one, model).run(scenario));
    }
  }
}

}  // namespace
}  // namespace pentafold::testing
