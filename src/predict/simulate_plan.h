// simulate_plan: a plan's pools as a Service that can be simulated.
//
// What a plan says (batch, chunk, KV blocks) and what its operator decides beside it (router,
// preemption, prefix cache, other limits) become the limits of each pool; prices are those of
// predict/step_pricer.h. `pentafold simulate` and the last round of `pentafold plan` ask this one
// function, so that both see the same service.
// Source: none: a design. Cost: microseconds. Held by predict/simulate_plan_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "plan/plan.h"
#include "predict/served_pool.h"

namespace pentafold {

// What is decided beside the plan.
struct ServingChoices {
  RouterPolicy router = RouterPolicy::RoundRobin;
  Preemption preemption = Preemption::Recompute;
  bool share_prefixes = true;
  std::optional<std::int64_t> max_sequences;  // running in a replica; else the plan's max_batch
  std::optional<std::int64_t> kv_tokens;    // of a replica; else the plan's, or what memory leaves
  std::optional<std::int64_t> max_context;  // tokens in a dp group's cache
};

// A pool of a plan; a split deployment has a plan for each of its two.
struct PlannedPool {
  ServedWorker served;
  Plan plan;
};

struct PlannedService {
  Service service;
  std::vector<StepPricer> pricers;  // by pool, as the simulation prices steps
};

// One pool, or prefill then decode. `costs` must outlive the result. Fails where a pool's memory
// (or --kv-tokens) does not hold a block for each dp group.
Result<PlannedService> planned_service(const StepCost& costs, std::span<const PlannedPool> pools,
                                       const ServingChoices& choices);

}  // namespace pentafold
