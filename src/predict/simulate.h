// simulate: a trace of requests through a deployment, event by event.
//
// The scheduler, the KV blocks and the router are those of policy/, the time of a step is what the
// caller's price says, and a request waits for its engine's front end first. Between two events (an
// arrival that can be admitted, the end of a sequence) a replica's decode steps differ by their
// contexts alone, so it jumps over all of them at once: the cost is that of events, not of steps.
// In a split deployment the first pool computes prompts, the cache travels, and the second pool
// decodes; the first token then counts when it has travelled.
// Nothing is random: equal inputs give equal bytes. Docs: docs/simulator.md.
// Source: discrete-event simulation as in Vidur (MLSys 2024), LLMServingSim.
// Cost: O(events x running sequences). Held by predict/simulate_test.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "policy/batching.h"
#include "policy/router.h"
#include "predict/arrival_gate.h"
#include "predict/engine_profile.h"
#include "predict/load_series.h"
#include "predict/simulate_summary.h"
#include "predict/step_load.h"
#include "spec/trace.h"

namespace pentafold {

// Seconds of steps. Finite, not negative, and the same for the same argument.
struct StepPrice {
  std::function<double(const StepLoad&)> step;
  // So many decode steps in a row; each has one more token per sequence in the cache. Grows with
  // the number of steps.
  std::function<double(const StepLoad&, std::int64_t)> decode_steps;
  double swap_block_s = 0;  // of a KV block to or from the host
};

// Equal replicas behind one router.
struct ReplicaPool {
  std::int64_t replicas = 1;
  std::int64_t gpus = 1;  // of one replica
  BatchLimits limits;     // of one replica
  ArrivalGate gate;       // likewise
  StepPrice price;
  RouterPolicy router = RouterPolicy::RoundRobin;
  double admission_s = 0;     // of a request before its scheduler sees it
  double prompt_token_s = 0;  // and of each of its prompt tokens
};

struct Service {
  ReplicaPool serving;
  std::optional<ReplicaPool> decode;               // then `serving` only computes prompts
  std::function<double(std::int64_t)> transfer_s;  // of so many tokens' cache between the pools
};

// Batching of a replica with `groups` attention dp groups under an engine.
BatchLimits batch_limits(const EngineProfile& engine, std::int64_t groups,
                         std::int64_t blocks_per_group);

// A step, or several decode steps in a row.
struct StepRun {
  std::int64_t pool = 0;  // 0: serving, 1: decode
  std::int64_t replica = 0;
  double start_s = 0;
  double end_s = 0;
  std::int64_t steps = 1;
  const StepLoad* load = nullptr;  // of the first step; valid during the call
};

struct SimulationOptions {
  ServiceTargets targets;  // goodput counts the requests that meet all
  double bucket_s = 1;     // of the series; wider for long simulations
  bool jump = true;        // false: every decode step is an event. The same result, slowly
  std::function<void(const StepRun&)> on_run;  // each one, when it ends
};

struct PoolUse {
  std::int64_t replicas = 0;
  std::int64_t blocks = 0;  // of all replicas
  std::int64_t steps = 0;
  double busy_share = 0;     // mean part of the time that a replica is in a step
  double peak_kv_share = 0;  // of the fullest replica, when a step ended
  LoadSeries series{1};
};

struct Simulation {
  std::vector<RequestOutcome> requests;  // as in the trace
  ServiceSummary summary;
  std::vector<PoolUse> pools;
};

// Requests ask for one token of prompt and answer at least. Those that could never run are rejected
// as they arrive, and counted.
Simulation simulate(const Trace& trace, const Service& service,
                    const SimulationOptions& options = {});

}  // namespace pentafold
