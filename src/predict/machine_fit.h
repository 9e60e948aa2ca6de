// machine_fit: the costs of a machine that no probe of a kernel sees, from runs of the engine.
//
// A run with timed operators says what each kind of program step took; what the kernels in it
// should have taken is known from their probes. A prediction is linear in the rest, so it is made
// three times (without host lines, with a nanosecond a call, with one a unit) and gives for
// each kind of step, prefill and decode, one equation
//   measured - kernels = calls x call_s + units x unit_s,
// two for two unknowns. Steps that one rank never takes (sequence <-> heads, hand-over) cost what
// the nearest of those it takes does. Source: least squares. Cost: predictions of the runs.
// Held by predict/run_prediction_test.cc (it finds the lines that made a report).
#pragma once

#include <vector>

#include "predict/run_prediction.h"

namespace pentafold {

struct MeasuredRun {
  RunToPredict run;  // on one rank
  std::vector<Request> requests;
  Report measured;  // with operators
};

// Fills machine.host; run.machine of the argument is not read.
Status fit_host_lines(const MeasuredRun& run, MachineSpec& machine);

// Fills machine.step from decode steps of a small model on one rank and on many that do not wait
// for each other; medians of the measured seconds.
struct StepSample {
  std::int64_t ranks = 1;
  double measured_s = 0;
  double predicted_s = 0;  // with machine.step 0
};
void fit_step_line(const StepSample& one, const StepSample& many, MachineSpec& machine);

}  // namespace pentafold
