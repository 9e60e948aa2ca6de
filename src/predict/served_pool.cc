#include "predict/served_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "plan/capacity.h"

namespace pentafold {

Worker serving_worker(const EngineProfile& engine, Worker worker) {
  worker.chunk = engine.step_tokens;
  worker.microbatches = std::max(worker.microbatches, worker.pp());
  return worker;
}

std::int64_t kv_blocks_per_group(const StepCost& costs, const ServedWorker& served,
                                 std::int64_t block_tokens, std::int64_t tokens,
                                 std::int64_t sampled) {
  Worker worker = served.worker;
  worker.chunk = std::min(costs.engine().step_tokens, std::max<std::int64_t>(worker.chunk, 1));
  worker.batch = sampled;
  worker.microbatches = 1;
  const double limit = costs.cluster().gpu.memory_bytes * served.memory_fraction;
  const double peak_share = worst_peak_share(costs, worker);
  double least = 1e15;
  for (std::int64_t s = 0; s < worker.pp(); ++s) {
    const RankBytes bytes = stage_bytes(costs.model(), worker, s, tokens, peak_share);
    if (bytes.kv <= 0) continue;
    const double sequences =
        (limit - (bytes.total() - bytes.kv)) / bytes.kv * static_cast<double>(sampled);
    least = std::min(least, sequences);
  }
  const std::int64_t of_one = (tokens + block_tokens - 1) / block_tokens;
  return static_cast<std::int64_t>(std::floor(least * static_cast<double>(of_one)));
}

namespace {

// The engines that look for arrivals now and then do so without attention dp; to balance takes it.
ArrivalGate gate_of(const EngineProfile& engine, std::int64_t groups) {
  if (groups > 1) {
    return engine.balance_steps > 0 ? balanced_gate(engine.balance_steps, groups) : ArrivalGate{};
  }
  return {engine.poll_steps, engine.poll_steps_few, 0, true};
}

}  // namespace

Result<ReplicaPool> served_pool(const StepCost& costs, const ServedWorker& served) {
  const EngineProfile& engine = costs.engine();
  const Workload& workload = costs.workload();
  const Worker worker = serving_worker(engine, served.worker);
  const BatchLimits defaults;
  const std::int64_t tokens =
      served.role == Role::Prefill ? workload.isl : workload.isl + workload.osl;
  ServedWorker sized = served;
  sized.worker = worker;
  const std::int64_t blocks = kv_blocks_per_group(costs, sized, defaults.block_tokens, tokens);
  if (blocks < 1) {
    return make_error(
        ErrorCode::InfeasiblePlan,
        fmt::format("{} leaves no memory for KV on {} with {}", describe(worker),
                    costs.cluster().gpu.name, format_bytes(costs.cluster().gpu.memory_bytes)));
  }
  const auto pricer = std::make_shared<const StepPricer>(costs, worker);
  ReplicaPool pool;
  pool.replicas = served.replicas;
  pool.gpus = worker.gpus();
  pool.limits = batch_limits(engine, worker.dp, blocks);
  pool.price.step = [pricer](const StepLoad& load) { return pricer->seconds(load); };
  pool.price.decode_steps = [pricer](const StepLoad& load, std::int64_t steps) {
    return pricer->decode_seconds(load, steps);
  };
  if (served.role == Role::Both) pool.gate = gate_of(engine, worker.dp);
  if (served.role != Role::Decode) {
    pool.admission_s = engine.admission_s;
    pool.prompt_token_s = engine.prompt_token_s;
  }
  return pool;
}

}  // namespace pentafold
