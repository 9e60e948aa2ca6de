// Timeline: the steps of a simulation as a file for Perfetto.
//
// A process is a replica, its threads are the pipeline stages, a slice is a step, or a run of
// decode steps in which nobody came or went; counters are the queue, the running sequences and the
// KV cache. In a pipeline, one step's microbatches are drawn at the stages' mean pace.
// Held by tests/e2e/simulate_test.cc.
#pragma once

#include <string>

#include "cli/simulate.h"
#include "report/chrome_trace.h"

namespace pentafold {

class Timeline {
 public:
  // `asked` must outlive it.
  static Result<Timeline> create(const std::string& path, const SimulationCase& asked);
  void add(const StepRun& run);
  Status finish(const Simulation& found);

 private:
  Timeline(ChromeTrace trace, const SimulationCase& asked);
  void name_everything();

  ChromeTrace trace_;
  const SimulationCase* asked_;
};

}  // namespace pentafold
