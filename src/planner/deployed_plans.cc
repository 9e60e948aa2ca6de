#include "planner/deployed_plans.h"

#include "plan/memory.h"
#include "plan/worker.h"

namespace pentafold {
namespace {

constexpr std::int64_t kDecodePoolChunk = 512;  // its prompts are computed elsewhere

Plan plan_of_pool(const Problem& problem, const Pool& pool) {
  Plan plan = plan_of(pool.worker, problem.model, pool.replicas);
  plan.device = problem.cluster.gpu.name;
  plan.device_memory_bytes = static_cast<std::int64_t>(problem.memory_limit());
  plan.kv_blocks = pool.kv_blocks > 0 ? pool.kv_blocks
                                      : kv_blocks_for(cached_tokens(problem.workload, pool.role)) *
                                            pool.worker.batch;
  if (pool.role == Role::Decode) plan.prefill_chunk = kDecodePoolChunk;
  return plan;
}

}  // namespace

std::vector<Plan> deployed_plans(const Problem& problem, const Deployment& deployment) {
  std::vector<Plan> out;
  for (const Pool& pool : deployment.pools) out.push_back(plan_of_pool(problem, pool));
  return out;
}

}  // namespace pentafold
