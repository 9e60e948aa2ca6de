#include "planner/deployed_plans.h"

#include <gtest/gtest.h>

#include "plan/memory.h"
#include "plan/worker.h"
#include "planner/search.h"
#include "planner/test_problems.h"

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

}  // namespace
}  // namespace pentafold
