#include "planner/deployed_plans.h"

#include <gtest/gtest.h>

#include "plan/memory.h"
#include "plan/plan_file.h"
#include "plan/plan_write.h"
#include "plan/worker.h"
#include "planner/search.h"
#include "planner/test_problems.h"
#include "predict/expert_placement.h"
#include "spec/load_shape.h"

namespace pentafold {
namespace {

// A deployment read back from its plans is the deployment.
TEST(DeployedPlans, SayWhatWasDeployed) {
  int split = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Problem problem = draw_problem(seed);
    problem.disaggregated = problem.workload.osl > 1;
    problem.aggregated = seed % 2 == 0 || !problem.disaggregated;
    const auto winner = search(problem, {}).winner;
    if (!winner) continue;
    const std::vector<Plan> plans = deployed_plans(problem, *winner);
    ASSERT_EQ(plans.size(), winner->pools.size());
    split += plans.size() == 2 ? 1 : 0;
    for (std::size_t i = 0; i < plans.size(); ++i) {
      const Pool& pool = winner->pools[i];
      EXPECT_EQ(plans[i].replicas, pool.replicas);
      Worker worker = worker_of(plans[i], problem.model).value();
      if (pool.role == Role::Decode) worker.chunk = pool.worker.chunk;
      EXPECT_EQ(worker, pool.worker) << describe(worker);
      EXPECT_EQ(plans[i].kv_blocks,
                pool.worker.batch * kv_blocks_for(cached_tokens(problem.workload, pool.role)));
    }
    Deployment roomy = *winner;
    for (Pool& pool : roomy.pools) pool.kv_blocks = 4321;
    EXPECT_EQ(deployed_plans(problem, roomy).front().kv_blocks, 4321);
  }
  EXPECT_GT(split, 5);
}

// Few hot experts, other ones in each layer.
std::shared_ptr<const ExpertHistogram> counted(const ModelShape& model) {
  auto out = std::make_shared<ExpertHistogram>();
  out->experts = model.experts();
  for (std::int64_t l = 0; l < model.num_layers(); ++l) {
    if (model.layer(l).ffn.experts == 0) continue;
    out->layers.push_back(l);
    for (std::int64_t e = 0; e < out->experts; ++e) {
      out->counts.push_back(e % 7 == l % 7 ? 1000 : 100 + e);
    }
  }
  return out;
}

double peak_of(const Problem& problem, const Plan& plan) {
  const Range all{0, plan.stages.front().layers};
  return stage_peak_share(plan, plan.stages.front(), all, problem.model, problem.workload).value();
}

TEST(DeployedPlans, CountedLoadsSayWhereCopiesLive) {
  Problem problem;
  problem.model = load_shape("qwen3-30b-a3b").value().model;
  problem.workload = {1000, 100, {}, {}, 0, counted(problem.model)};
  problem.cluster = default_cluster(find_gpu("h200-sxm").value(), 32);
  Worker worker;
  worker.stage_layers = {48};
  worker.dp = 32;
  worker.ep = 32;
  worker.redundant = 32;
  worker.precision = problem.model.stored;
  const Deployment deployment{{{worker, 1, Role::Both}}, {}};
  const Plan dealt = deployed_plans(problem, deployment).front();
  const Plan round = plan_of(worker, problem.model, 1);
  EXPECT_EQ(dealt.stages.front().explicit_placement.size(), 48U * 128U);
  EXPECT_EQ(worker_of(dealt, problem.model).value().redundant, 32);
  // Better than going round, and close to what the search priced.
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  EXPECT_LT(peak_of(problem, dealt), 1 + 0.5 * (peak_of(problem, round) - 1));
  EXPECT_NEAR(peak_of(problem, dealt), costs.peak_share(0, worker), 0.1);
  // It is written and read back.
  Plan named = dealt;
  named.model = "qwen3-30b-a3b";
  EXPECT_TRUE(parse_plan(format_plan(named, {}), "p.yaml").ok());

  // Too long a table is dealt once for all layers.
  problem.model = load_shape("deepseek-v3").value().model;
  problem.workload.expert_load = counted(problem.model);
  worker.stage_layers = {31, 30};
  worker.dp = 256;
  worker.ep = 8;
  worker.redundant = 32;
  const Plan large = deployed_plans(problem, {{{worker, 1, Role::Both}}, {}}).front();
  for (const StagePlan& stage : large.stages) {
    EXPECT_EQ(stage.explicit_placement.size(), 256U);
    EXPECT_EQ(stage.explicit_placement.front().layer, -1);
  }
  EXPECT_EQ(worker_of(large, problem.model).value().redundant, 32);
}

}  // namespace
}  // namespace pentafold
