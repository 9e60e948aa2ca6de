#include "predict/step_pricer.h"

#include <gtest/gtest.h>

#include "support/planning_cases.h"

namespace pentafold {
namespace {

using testing::planning_case;
using testing::PlanningCase;

StepLoad decodes(const PlanningCase& c, std::int64_t sequences) {
  StepLoad load;
  const double context =
      static_cast<double>(c.workload.isl) + static_cast<double>(c.workload.osl - 1) / 2;
  for (std::int64_t g = 0; g < c.worker.dp; ++g) {
    GroupLoad group;
    group.decodes = sequences;
    group.decode_context = context * static_cast<double>(sequences);
    load.groups.push_back(group);
  }
  return load;
}

// Where all sequences are at the workload's mean length, a step costs what the planner says.
TEST(StepPricer, AgreesWithTheSteadyState) {
  const EngineProfile engine;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    PlanningCase c = planning_case(seed);
    if (c.workload.osl < 2) continue;
    c.worker.microbatches = c.worker.pp() > 1 ? c.worker.microbatches : 1;
    const StepCost costs(c.model, c.cluster, engine, c.workload);
    const StepPricer pricer(costs, c.worker);
    const double planned = predict_worker(costs, c.worker, Role::Decode).timing.decode_s;
    EXPECT_NEAR(pricer.seconds(decodes(c, c.worker.batch)), planned, 1e-9 * planned)
        << to_string(c);
  }
}

TEST(StepPricer, MoreOfAnythingNeverCostsLess) {
  const EngineProfile engine;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const PlanningCase c = planning_case(seed);
    const StepCost costs(c.model, c.cluster, engine, c.workload);
    const StepPricer pricer(costs, c.worker);
    StepLoad load = decodes(c, 3);
    double was = pricer.seconds(load);
    const auto no_less = [&](const char* what) {
      const double is = pricer.seconds(load);
      EXPECT_GE(is * (1 + 1e-9), was) << to_string(c) << ": " << what;
      was = is;
    };
    load.groups[0].decodes += 5;
    load.groups[0].decode_context += 5000;
    no_less("sequences");
    load.groups[0].decode_context *= 3;
    no_less("context");
    load.groups[0].prompts = {{0, 100}};
    no_less("a prompt");
    load.groups[0].prompts = {{0, 100}, {500, 1000}};
    no_less("another piece");
    load.groups[0].finished_prompts = 1;
    no_less("a first token");
  }
}

TEST(StepPricer, ARunOfStepsIsTheSumOfItsSteps) {
  const EngineProfile engine;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const PlanningCase c = planning_case(seed);
    const StepCost costs(c.model, c.cluster, engine, c.workload);
    const StepPricer pricer(costs, c.worker);
    StepLoad load = decodes(c, 4);
    const double jumped = pricer.decode_seconds(load, 9);
    double walked = 0;
    for (int i = 0; i < 9; ++i) {
      walked += pricer.seconds(load);
      for (GroupLoad& group : load.groups) {
        group.decode_context += static_cast<double>(group.decodes);
      }
    }
    EXPECT_NEAR(jumped, walked, 0.001 * walked) << to_string(c);
  }
}

}  // namespace
}  // namespace pentafold
