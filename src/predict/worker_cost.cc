#include "predict/worker_cost.h"

#include <algorithm>

namespace pentafold {
namespace {

struct StageCosts {
  PipelineTime times;
  Cost slowest;
  void add(const Cost& stage, std::int64_t count) {
    if (stage.seconds > times.slowest) slowest = stage;
    times.add(stage.seconds, count);
  }
};

// `part(kind)` for each layer of the mix, kinds in order.
template <class Part>
Cost over_kinds(const StageMix& mix, const Part& part) {
  Cost cost;
  for (std::size_t k = 0; k < mix.layers_of_kind.size(); ++k) {
    if (mix.layers_of_kind[k] == 0) continue;
    cost += part(k) * static_cast<double>(mix.layers_of_kind[k]);
  }
  return cost;
}

Cost decode_stage(const StepCost& costs, const Worker& worker, const StageMix& mix,
                  std::int64_t rows) {
  Cost cost = over_kinds(mix, [&](std::size_t k) { return costs.tensor_decode(k, worker, rows); });
  cost += over_kinds(mix, [&](std::size_t k) {
    return costs.experts(k, worker, rows, costs.peak_share(k, worker));
  });
  if (mix.last) cost += costs.logits(worker, rows);
  if (!mix.last) cost += costs.hand_over(worker, rows);
  return cost;
}

Cost prefill_stage(const StepCost& costs, const Worker& worker, const StageMix& mix,
                   std::int64_t prompts) {
  Cost cost =
      over_kinds(mix, [&](std::size_t k) { return costs.tensor_prefill(k, worker, prompts); });
  cost += over_kinds(mix, [&](std::size_t k) {
    return costs.experts_prefill(k, worker, prompts, costs.peak_share(k, worker));
  });
  if (mix.last) cost += costs.logits(worker, prompts);
  if (!mix.last) {
    const ChunkCount chunks = chunks_of(costs.workload().isl, prompts, worker.chunk);
    const std::int64_t rows = chunks.full > 0 ? worker.chunk : chunks.rest;
    cost += costs.hand_over(worker, (rows + worker.sp - 1) / worker.sp) *
            static_cast<double>(chunks.count());
  }
  return cost;
}

Cost with_bubble(Cost busy, double whole) {
  busy.add(Bound::Bubble, std::max(0.0, whole - busy.seconds));
  return busy;
}

}  // namespace

const char* to_string(Role role) {
  switch (role) {
    case Role::Both:
      return "prefill and decode";
    case Role::Prefill:
      return "prefill";
    case Role::Decode:
      return "decode";
  }
  return "?";
}

std::vector<StageMix> stage_mixes(const ModelShape& model,
                                  std::span<const std::int64_t> stage_layers) {
  std::vector<StageMix> mixes;
  std::int64_t layer = 0;
  for (std::size_t s = 0; s < stage_layers.size(); ++s) {
    StageMix mix;
    mix.layers_of_kind.assign(model.kinds.size(), 0);
    const std::int64_t end = layer + stage_layers[s];
    for (; layer < end; ++layer) {
      ++mix.layers_of_kind[static_cast<std::size_t>(model.layers[static_cast<std::size_t>(layer)])];
    }
    mix.first = s == 0;
    mix.last = s + 1 == stage_layers.size();
    const auto same = std::find_if(mixes.begin(), mixes.end(), [&](const StageMix& other) {
      return other.layers_of_kind == mix.layers_of_kind && other.first == mix.first &&
             other.last == mix.last;
    });
    if (same != mixes.end()) {
      ++same->count;
    } else {
      mixes.push_back(std::move(mix));
    }
  }
  return mixes;
}

double decode_step_seconds(PipelineTime stages, std::int64_t microbatches, double fixed) {
  return std::max(stages.sum, static_cast<double>(microbatches) * stages.slowest) + fixed;
}

double prefill_pass_seconds(PipelineTime stages, std::int64_t microbatches, double fixed) {
  const auto m = static_cast<double>(microbatches);
  return (stages.sum + (m - 1) * stages.slowest) / m + m * fixed;
}

Rates steady_state(const Workload& workload, const Worker& worker, const Timing& timing,
                   Role role) {
  const auto groups = static_cast<double>(worker.dp);
  const auto b = static_cast<double>(worker.batch);
  const auto w = static_cast<double>(timing.prompts);
  const auto osl = static_cast<double>(workload.osl);
  const auto steps = static_cast<double>(std::max<std::int64_t>(workload.osl - 1, 0));
  const double pre = timing.prefill_s;
  const double dec = timing.decode_s;
  Rates rates;
  if (role != Role::Decode) {
    rates.prefill_tokens_per_s = static_cast<double>(workload.isl) * w * groups / pre;
  }
  if (role == Role::Prefill) {
    rates.requests_per_s = w * groups / pre;
    rates.ttft_s = pre;
  } else if (role == Role::Decode) {
    rates.requests_per_s = steps > 0 ? b * groups / (steps * dec) : 0;
    rates.tokens_per_s = rates.requests_per_s * osl;
    rates.tpot_s = dec;
    return rates;
  } else {
    const double passes = std::max(b / w, 1.0);
    const double cycle = steps * dec + passes * pre;
    rates.requests_per_s = b * groups / cycle;
    rates.tokens_per_s = rates.requests_per_s * osl;
    if (steps > 0) rates.tpot_s = dec + (passes - 1) * pre / steps;
    rates.ttft_s = passes > 1 ? 1.5 * pre + (steps > 0 ? 0.5 * dec : 0.0) : pre;
  }
  rates.service_s = pre;
  return rates;
}

double queue_wait_seconds(double load, double service_s) {
  // Beyond its capacity a queue grows without end.
  return load < 1 ? load / (2 * (1 - load)) * service_s : 1e30;
}

double load_for_wait(double wait_s, double service_s) {
  const double services = std::max(0.0, wait_s / service_s);
  return 2 * services / (1 + 2 * services);
}

double kv_transfer_seconds(const StepCost& costs, const Worker& prefill) {
  const double bytes =
      kv_bytes_of_sequence(costs.model(), prefill.precision.kv, costs.workload().isl) /
      static_cast<double>(prefill.tensor_ranks() * prefill.pp());
  return costs.operators().send(costs.cluster().links.size() - 1, bytes).seconds;
}

double worst_peak_share(const StepCost& costs, const Worker& worker) {
  double worst = 1;
  for (std::size_t k = 0; k < costs.model().kinds.size(); ++k) {
    worst = std::max(worst, costs.peak_share(k, worker));
  }
  return worst;
}

std::int64_t cached_tokens(const Workload& workload, Role role) {
  return role == Role::Prefill ? workload.isl : workload.isl + workload.osl;
}

WorkerPrediction predict_worker(const StepCost& costs, const Worker& worker, Role role) {
  const Workload& workload = costs.workload();
  const std::vector<StageMix> mixes = stage_mixes(costs.model(), worker.stage_layers);
  WorkerPrediction out;
  out.peak_share = worst_peak_share(costs, worker);
  out.memory = worker_bytes(costs.model(), worker, cached_tokens(workload, role), out.peak_share);
  out.timing.prompts = std::min(prompts_per_pass(workload.isl, worker.chunk), worker.batch);
  if (role != Role::Decode) {
    StageCosts stages;
    for (const StageMix& mix : mixes) {
      stages.add(prefill_stage(costs, worker, mix, out.timing.prompts), mix.count);
    }
    const std::int64_t m = chunks_of(workload.isl, out.timing.prompts, worker.chunk).count();
    const Cost fixed = costs.fixed(out.timing.prompts, true);
    out.timing.prefill_s = prefill_pass_seconds(stages.times, m, fixed.seconds);
    stages.slowest += fixed * static_cast<double>(m);
    out.prefill = with_bubble(stages.slowest, out.timing.prefill_s);
  }
  if (role != Role::Prefill) {
    StageCosts stages;
    const std::int64_t rows = (worker.batch + worker.microbatches - 1) / worker.microbatches;
    for (const StageMix& mix : mixes) {
      stages.add(decode_stage(costs, worker, mix, rows), mix.count);
    }
    const Cost fixed = costs.fixed(worker.batch, false);
    out.timing.decode_s = decode_step_seconds(stages.times, worker.microbatches, fixed.seconds);
    Cost busy = stages.slowest * static_cast<double>(worker.microbatches);
    busy += fixed;
    out.decode = with_bubble(busy, out.timing.decode_s);
  }
  out.rates = steady_state(workload, worker, out.timing, role);
  return out;
}

}  // namespace pentafold
