// served_pool: a worker as the simulator serves with it: its batching, its KV blocks, its prices.
//
// What is left of a device's memory beside weights, the activations of a full step and the runtime
// is cut into KV blocks, as an engine does when it starts; the engine's profile says how it
// batches; every step is priced by predict/step_pricer.h.
// Cost: microseconds; a price about 1 us. Held by predict/served_pool_test.cc.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "predict/simulate.h"
#include "predict/step_pricer.h"

namespace pentafold {

struct ServedWorker {
  Worker worker;
  std::int64_t replicas = 1;
  Role role = Role::Both;
  double memory_fraction = 0.9;  // of a device that may be used
};

// As an engine runs it: steps of its own size, and a microbatch in every stage of a pipeline.
Worker serving_worker(const EngineProfile& engine, Worker worker);

// KV blocks of `block_tokens` tokens that fit beside everything else, for each attention dp group:
// the least over stages. `tokens`: of a typical sequence, over which windows and states are spread.
// Room is left for the logits of `sampled` sequences at once. 0 or less: not even the weights fit.
std::int64_t kv_blocks_per_group(const StepCost& costs, const ServedWorker& served,
                                 std::int64_t block_tokens, std::int64_t tokens,
                                 std::int64_t sampled = 1);

// `costs` must outlive the pool. Fails when the worker's memory does not hold one block.
Result<ReplicaPool> served_pool(const StepCost& costs, const ServedWorker& served);

}  // namespace pentafold
