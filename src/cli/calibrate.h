// `pentafold calibrate`: measures this machine into a cluster file.
//
// Kernels and transports are probed (execute/measure.h), the rest is fitted to runs of the engine
// on models made for it (predict/machine_fit.h). Exit codes: 0 done, 2 bad input, 3 a run failed.
// Held by tests/e2e/calibrate_test.cc.
#pragma once

#include <string>

#include "base/result.h"
#include "spec/cluster.h"

namespace pentafold {

struct CalibrateOptions {
  std::string out;  // empty: on stdout
  std::string device = "cpu";
  bool quick = false;
};
int calibrate_verb(const CalibrateOptions& options);

// The same as a value, for those that need it at once.
Result<ClusterSpec> calibrate_machine(const CalibrateOptions& options);

}  // namespace pentafold
