#include "predict/simulate_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "plan/capacity.h"

namespace pentafold {
namespace {

// A device's link to its host: PCIe 5.0 x16 moves about this much of its 63 GB/s.
constexpr double kHostBytesPerS = 50e9;

// Of the fullest rank.
double kv_block_bytes(const ModelShape& model, const Worker& worker, std::int64_t block_tokens) {
  double most = 0;
  std::int64_t layer = 0;
  for (const std::int64_t layers : worker.stage_layers) {
    double bytes = 0;
    for (const std::int64_t end = layer + layers; layer < end; ++layer) {
      bytes += layer_kv_bytes(model.layer(layer), worker, block_tokens);
    }
    most = std::max(most, bytes);
  }
  return most;
}

Status set_limits(const ServingChoices& choices, const PlannedPool& planned, ReplicaPool& pool) {
  const Plan& plan = planned.plan;
  const std::int64_t groups = planned.served.worker.dp;
  pool.router = choices.router;
  BatchLimits& limits = pool.limits;
  limits.preemption = choices.preemption;
  limits.share_prefixes = choices.share_prefixes;
  limits.max_sequences =
      std::min(limits.max_sequences, choices.max_sequences.value_or(plan.max_batch));
  limits.piece_tokens = std::min(limits.piece_tokens, plan.prefill_chunk);
  if (plan.kv_blocks > 0) limits.blocks_per_group = plan.kv_blocks;
  if (choices.kv_tokens) {
    limits.blocks_per_group = *choices.kv_tokens / limits.block_tokens / groups;
  }
  if (choices.max_context) limits.max_context = *choices.max_context;
  if (limits.blocks_per_group >= 1) return ok_status();
  return make_error(ErrorCode::InvalidSpec,
                    fmt::format("--kv-tokens must be at least a block of {} tokens for each of {} "
                                "dp groups",
                                limits.block_tokens, groups));
}

}  // namespace

Result<PlannedService> planned_service(const StepCost& costs, std::span<const PlannedPool> pools,
                                       const ServingChoices& choices) {
  CHECK(pools.size() == 1 || pools.size() == 2, "one pool, or prefill then decode");
  PlannedService out;
  for (const PlannedPool& planned : pools) {
    const Worker& worker = planned.served.worker;
    PF_ASSIGN(ReplicaPool pool, served_pool(costs, planned.served));
    PF_TRY(set_limits(choices, planned, pool));
    pool.price.swap_block_s =
        kv_block_bytes(costs.model(), worker, pool.limits.block_tokens) / kHostBytesPerS;
    if (planned.served.role == Role::Decode) {
      out.service.decode = std::move(pool);
    } else {
      out.service.serving = std::move(pool);
    }
    out.pricers.emplace_back(costs, serving_worker(costs.engine(), worker));
  }
  if (out.service.decode) {
    const double per_token = kv_transfer_seconds(costs, pools.front().served.worker) /
                             static_cast<double>(costs.workload().isl);
    out.service.transfer_s = [per_token](std::int64_t tokens) {
      return per_token * static_cast<double>(tokens);
    };
  }
  return out;
}

}  // namespace pentafold
