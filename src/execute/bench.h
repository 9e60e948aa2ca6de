// bench: one job (report/bench_report.h) on a running engine, again and again.
//
// A prefill is `size` prompt tokens from submission to the first answers, dealt to as many prompts
// as the plan has groups that compute prompts apart; decode is `size` sequences that grow step by
// step from `context` tokens. Requests are synthetic and the same for every plan of as many groups.
// Cost: that of the job. Held by execute/bench_test.cc and tests/e2e/bench_test.cc.
#pragma once

#include <vector>

#include "execute/engine.h"
#include "report/bench_report.h"

namespace pentafold {

std::vector<Request> job_requests(const BenchJob& job, const Plan& plan, std::int64_t vocab);

// Operations that the job's timed steps need, by the model: all weights that a token uses, the head
// where it gives logits, and every (query, key) pair of attention.
double job_flop(const BenchJob& job, const Plan& plan, const ModelSpec& model);

// An engine and what was measured on it.
class BenchContender {
 public:
  // `options`: device, threads, timeout; sizes are those that the jobs need. Layers of `plan`
  // resolved.
  static Result<BenchContender> start(const Plan& plan, const ModelSpec& model, WeightSource source,
                                      const EngineOptions& options,
                                      const std::vector<BenchJob>& jobs);

  // Once. Unless `counted` it only warms up.
  Status run(std::size_t job, bool counted);
  // One a job, in their order, without limits; after each was run.
  std::vector<BenchRow> rows() const;

 private:
  Plan plan_;
  ModelSpec model_;
  SchedulerLimits limits_;
  std::unique_ptr<Engine> engine_;
  std::vector<BenchRow> rows_;
};

}  // namespace pentafold
