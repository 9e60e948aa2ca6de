#include "planner/deployed_plans.h"

#include <algorithm>
#include <utility>

#include "plan/memory.h"
#include "plan/worker.h"
#include "predict/expert_placement.h"

namespace pentafold {
namespace {

constexpr std::int64_t kDecodePoolChunk = 512;  // its prompts are computed elsewhere

constexpr double kMostTableBytes = 1.5e6;  // of the 2 MB that a plan file may have

using Shares = std::vector<double>;

// What was counted of the layer, else of the layers like it on average.
Shares shares_of(const ModelShape& model, const Workload& workload, std::int64_t layer) {
  const auto kind = static_cast<std::size_t>(model.layers[static_cast<std::size_t>(layer)]);
  ExpertProfile profile = expert_profile(model, kind, workload);
  const auto own = std::ranges::find(profile.numbers, layer);
  if (own != profile.numbers.end()) {
    return std::move(profile.layers[static_cast<std::size_t>(own - profile.numbers.begin())]);
  }
  Shares mean(static_cast<std::size_t>(model.layer(layer).ffn.experts), 0.0);
  for (const Shares& counted : profile.layers) {
    for (std::size_t e = 0; e < mean.size(); ++e) {
      mean[e] += counted[e] / static_cast<double>(profile.layers.size());
    }
  }
  return mean;
}

// An entry for each expert; its copies in all repeats of the expert groups.
void deal(const Worker& worker, const Shares& share, std::int64_t layer,
          std::vector<ExplicitPlacement>& table) {
  const std::size_t first = table.size();
  for (std::size_t e = 0; e < share.size(); ++e) {
    table.push_back({layer, static_cast<std::int64_t>(e), {}, 0});
  }
  const auto groups = balanced_groups(share, worker.ep, worker.redundant);
  for (std::int64_t repeat = 0; repeat < worker.edp(); ++repeat) {
    for (std::size_t g = 0; g < groups.size(); ++g) {
      ExpertCopy copy;
      const std::int64_t group = repeat * worker.ep + static_cast<std::int64_t>(g);
      for (std::int64_t i = 0; i < worker.etp; ++i) {
        copy.ranks.push_back(static_cast<std::int32_t>(group * worker.etp + i));
      }
      for (const std::int64_t e : groups[g]) {
        table[first + static_cast<std::size_t>(e)].copies.push_back(copy);
      }
    }
  }
}

void deal_by_load(const Problem& problem, const Worker& worker, Plan& plan) {
  const ModelShape& model = problem.model;
  std::vector<std::int64_t> layers;  // with experts
  for (std::int64_t l = 0; l < model.num_layers(); ++l) {
    if (model.layer(l).ffn.experts > 0) layers.push_back(l);
  }
  const double copies = static_cast<double>((model.experts() + worker.redundant) * worker.edp());
  const double bytes =
      static_cast<double>(layers.size()) * (50.0 * static_cast<double>(model.experts()) +
                                            copies * (4 + 6.0 * static_cast<double>(worker.etp)));
  const bool alike = std::ranges::all_of(
      layers, [&](std::int64_t l) { return model.layer(l).ffn.experts == model.experts(); });
  const bool each = bytes <= kMostTableBytes;
  if (!each && !alike) return;
  Shares mean(static_cast<std::size_t>(model.experts()), 0.0);
  for (std::size_t i = 0; !each && i < layers.size(); ++i) {
    const Shares share = shares_of(model, problem.workload, layers[i]);
    for (std::size_t e = 0; e < mean.size(); ++e) {
      mean[e] += share[e] / static_cast<double>(layers.size());
    }
  }
  std::int64_t begin = 0;
  for (StagePlan& stage : plan.stages) {
    stage.explicit_placement.clear();
    if (!each) deal(worker, mean, -1, stage.explicit_placement);
    for (const std::int64_t l : layers) {
      if (!each || l < begin || l >= begin + stage.layers) continue;
      deal(worker, shares_of(model, problem.workload, l), l, stage.explicit_placement);
    }
    begin += stage.layers;
  }
}

Plan plan_of_pool(const Problem& problem, const Pool& pool) {
  Plan plan = plan_of(pool.worker, problem.model, pool.replicas);
  if (pool.worker.redundant > 0 && problem.workload.expert_load) {
    deal_by_load(problem, pool.worker, plan);
  }
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
