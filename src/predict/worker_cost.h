// worker_cost: what one worker delivers in a steady state: TTFT, TPOT, tokens per second.
//
// A worker is a pipeline of stages; a stage's time in one microbatch is a sum over its layers of
// the parts of step_cost.h. With m microbatches over p stages of times t_s:
//   decode step    max(sum t_s, m x max t_s): microbatches follow each other round the pipeline, so
//                  it idles only while m < p, by (p - m) / p for equal stages;
//   prefill pass   (sum T_s + (m - 1) max T_s) / m for stage totals T_s: the pipeline fills and
//                  drains, the bubble is (p - 1) / (m + p - 1) (GPipe, arXiv 1811.06965).
// In a steady state of b sequences per dp group, each living (osl - 1) decode steps, a worker
// spends (osl - 1) decode steps and b / w prefill passes (w prompts a pass) to finish b sequences
// per group: that cycle gives throughput, and the passes of others stretch a sequence's TPOT. A
// request waits for half of a step and, where others' prompts may be ahead, half of a pass (a
// bound: the true mean weighs them by their share of the time, and would make a faster decode look
// worse); with an arrival rate also in the queue (M/D/1, Pollaczek-Khinchine). Percentiles are the
// simulator's matter. Cost: O(stages x kinds). Held by predict/worker_cost_test.cc and
// predict/monotone_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/capacity.h"
#include "predict/step_cost.h"

namespace pentafold {

enum class Role { Both, Prefill, Decode };
const char* to_string(Role role);  // "prefill and decode"

// Layers of one pipeline stage by kind; equal stages are kept once.
struct StageMix {
  std::vector<std::int64_t> layers_of_kind;
  bool first = false;
  bool last = false;
  std::int64_t count = 1;  // stages like this one
  friend bool operator==(const StageMix&, const StageMix&) = default;
};
std::vector<StageMix> stage_mixes(const ModelShape& model,
                                  std::span<const std::int64_t> stage_layers);

// Times of the stages, reduced to what a pipeline needs.
struct PipelineTime {
  double sum = 0;
  double slowest = 0;
  void add(double stage, std::int64_t count) {
    sum += stage * static_cast<double>(count);
    if (stage > slowest) slowest = stage;
  }
};
double decode_step_seconds(PipelineTime stages, std::int64_t microbatches, double fixed);
double prefill_pass_seconds(PipelineTime stages, std::int64_t microbatches, double fixed);

// What a worker of `role` makes of a pass and a step.
struct Rates {
  double ttft_s = 0;
  double tpot_s = 0;
  double tokens_per_s = 0;          // generated
  double prefill_tokens_per_s = 0;  // prompt tokens, while it computes prompts
  double requests_per_s = 0;        // it can sustain
  double service_s = 0;             // what a queued request waits for: one prefill pass
};
struct Timing {
  double prefill_s = 0;  // one pass: `prompts` prompts in each dp group
  double decode_s = 0;   // one step
  std::int64_t prompts = 1;
};
// Of a worker that is kept full.
Rates steady_state(const Workload& workload, const Worker& worker, const Timing& timing, Role role);
// Mean wait in a queue before servers that are busy a part `load` of the time (M/D/1).
double queue_wait_seconds(double load, double service_s);
// The load at which the mean wait is `wait_s`.
double load_for_wait(double wait_s, double service_s);
// Seconds to move one sequence's cache from a prefill worker to a decode worker.
double kv_transfer_seconds(const StepCost& costs, const Worker& prefill);

struct WorkerPrediction {
  Rates rates;
  Timing timing;
  RankBytes memory;       // of the fullest rank
  double peak_share = 1;  // busiest rank's part of the experts' rows over the even share
  Cost prefill;           // of one pass, on the slowest stage; idle time is Bubble
  Cost decode;            // of one step
};
// The plain way: everything computed anew. search (planner/search.h) gives the same numbers.
WorkerPrediction predict_worker(const StepCost& costs, const Worker& worker, Role role);

// The busiest rank's share over all kinds with experts.
double worst_peak_share(const StepCost& costs, const Worker& worker);
// Tokens that a sequence holds in the cache at its longest, in the given role.
std::int64_t cached_tokens(const Workload& workload, Role role);

}  // namespace pentafold
