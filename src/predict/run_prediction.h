// run_prediction: what a run of a plan on a measured machine will report, before it is run.
//
// The server's own scheduler makes the steps (policy/scheduler.h); for each step every rank's
// program is priced step by step (predict/step_work.h), and the ranks' work and waits are laid out
// on the machine's cores (predict/core_sharing.h). The answer is a Report, as a run gives it, so
// that comparing is a subtraction. Answers are taken to be as long as allowed.
// Cost: O(steps x ranks x program). Held by predict/run_prediction_test.cc.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "plan/plan.h"
#include "policy/scheduler.h"
#include "predict/routing_draw.h"
#include "report/report.h"
#include "spec/machine.h"
#include "spec/model.h"

namespace pentafold {

// All must outlive the call. `plan` with layers resolved.
struct RunToPredict {
  const Plan& plan;
  const ModelSpec& model;
  const MachineSpec& machine;
  SchedulerLimits limits;
  ExpertWeights weights;  // chances of experts; empty: all alike
};

Result<Report> predict_run(const RunToPredict& run, std::vector<Request> requests);

}  // namespace pentafold
