#include "predict/simulate_plan.h"

#include <gtest/gtest.h>

#include "plan/worker.h"
#include "spec/load_shape.h"

namespace pentafold {
namespace {

struct SimulatePlan : testing::Test {
  ModelShape model = load_shape("qwen3-30b-a3b").value().model;
  ClusterSpec cluster = default_cluster(find_gpu("h200-sxm").value(), 8);
  EngineProfile engine = find_engine("vllm", "h200-sxm").value();
  Workload workload{1000, 200, {}, {}, 0};
  StepCost costs{model, cluster, engine, workload};

  PlannedPool pool(Role role) const {
    Worker worker;
    worker.stage_layers = {24, 24};
    worker.dp = 2;
    worker.tp = 2;
    worker.ep = 4;
    worker.batch = 8;
    worker.chunk = 512;
    worker.precision = model.stored;
    return {{worker, 3, role, 0.9}, plan_of(worker, model, 3)};
  }
  BatchLimits limits(const PlannedPool& planned, const ServingChoices& choices) const {
    return planned_service(costs, std::span(&planned, 1), choices).value().service.serving.limits;
  }
};

TEST_F(SimulatePlan, ThePlanSaysWhatNobodySaysOtherwise) {
  PlannedPool planned = pool(Role::Both);
  const BatchLimits free = limits(planned, {});
  EXPECT_EQ(free.max_sequences, 16);
  EXPECT_EQ(free.piece_tokens, 512);
  EXPECT_EQ(free.groups, 2);
  EXPECT_EQ(free.blocks_per_group,
            kv_blocks_per_group(costs,
                                {serving_worker(engine, planned.served.worker), 3, Role::Both, 0.9},
                                free.block_tokens, 1200));
  planned.plan.kv_blocks = 77;
  EXPECT_EQ(limits(planned, {}).blocks_per_group, 77);
  ServingChoices choices;
  choices.max_sequences = 5;
  choices.kv_tokens = 100 * free.block_tokens * free.groups;
  choices.max_context = 4000;
  choices.share_prefixes = false;
  choices.preemption = Preemption::Swap;
  const BatchLimits chosen = limits(planned, choices);
  EXPECT_EQ(chosen.max_sequences, 5);
  EXPECT_EQ(chosen.blocks_per_group, 100);
  EXPECT_EQ(chosen.max_context, 4000);
  EXPECT_FALSE(chosen.share_prefixes);
  EXPECT_EQ(chosen.preemption, Preemption::Swap);
}

TEST_F(SimulatePlan, TwoPoolsHandTheirCachesOver) {
  const std::vector<PlannedPool> both = {pool(Role::Prefill), pool(Role::Decode)};
  const auto made = planned_service(costs, both, {});
  ASSERT_TRUE(made.ok());
  ASSERT_TRUE(made->service.decode.has_value());
  EXPECT_EQ(made->pricers.size(), 2U);
  EXPECT_NEAR(made->service.transfer_s(workload.isl),
              kv_transfer_seconds(costs, both.front().served.worker), 1e-12);
  EXPECT_GT(made->service.transfer_s(2000), made->service.transfer_s(1000));
  // The parts of a step are those of the step that the simulation charges.
  StepLoad load;
  load.groups.resize(2);
  for (GroupLoad& group : load.groups) group = {4, 4000, {}, 0};
  EXPECT_EQ(made->service.decode->price.step(load), made->pricers[1].seconds(load));
}

TEST_F(SimulatePlan, ACacheWithoutABlockIsRefused) {
  const PlannedPool planned = pool(Role::Both);
  ServingChoices choices;
  choices.kv_tokens = 3;
  const auto made = planned_service(costs, std::span(&planned, 1), choices);
  ASSERT_FALSE(made.ok());
  EXPECT_NE(made.error().message.find("--kv-tokens must be at least"), std::string::npos);
}

}  // namespace
}  // namespace pentafold
