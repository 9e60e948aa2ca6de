// StepPricer: seconds of one step of a worker, for any mix of decode and prefill.
//
// The lattice search prices a worker at the workload's mean lengths (predict/step_cost.h); a
// simulated trace prices every step it makes. Both sum the same operations with the same
// constants. Sums over layers are taken once per worker, so that a step costs O(layer kinds +
// prompt pieces).
// Source: predict/step_cost.h. Held by predict/step_pricer_test.cc (equal to step_cost where both
// apply; monotone in every count).
#pragma once

#include <cstdint>

#include "plan/worker.h"
#include "predict/step_cost.h"
#include "predict/step_load.h"
#include "predict/worker_cost.h"

namespace pentafold {

class StepPricer {
 public:
  // `costs` must outlive it.
  StepPricer(const StepCost& costs, const Worker& worker);

  const Worker& worker() const { return worker_; }

  // One step; load.groups.size() == worker.dp. With a pipeline: from the first stage's start until
  // the last stage is done, rows cut into the worker's microbatches.
  Cost cost(const StepLoad& load) const;
  double seconds(const StepLoad& load) const { return cost(load).seconds; }
  // `steps` steps in which nobody comes or goes: decode_context grows by `decodes` each step.
  double decode_seconds(const StepLoad& first, std::int64_t steps) const;

 private:
  const StepCost& costs_;
  Worker worker_;
  std::vector<StageMix> stages_;
  std::vector<double> peak_share_;  // by kind
};

}  // namespace pentafold
