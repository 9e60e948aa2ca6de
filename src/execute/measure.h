// measure: what kernels and transports cost on this machine, as the engine uses them.
//
// Each probe times a short run of calls; all probes of a group take turns, round after round, and
// the lower quartile of a probe's rounds counts, so that what else the machine does for a while
// hits all of them alike and none for long. Kernels are timed near (data in the nearest caches) and
// over working sets up to the memory, alone and on all cores at once; exchanges between as many
// threads as a plan may have ranks, more than there are cores included. Cost: about 20 s; a quick
// measurement about 2 s. Held by execute/measure_test.cc (sizes and signs; times belong to a
// machine) and tests/e2e/calibrate_test.cc.
#pragma once

#include <string>

#include "base/result.h"
#include "spec/machine.h"

namespace pentafold {

struct MeasureOptions {
  std::string device = "cpu";
  bool quick = false;      // fewer points and rounds: whether it works, not how fast it is
  std::int64_t cores = 0;  // 0: as many as this process may run on
};

// Products, leaves and attention into a machine without the rest.
Result<MachineSpec> measure_kernels(const MeasureOptions& options);

// Exchanges and messages between threads, into `machine`.
Status measure_transport(const MeasureOptions& options, MachineSpec& machine);

}  // namespace pentafold
