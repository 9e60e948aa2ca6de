// What the text and the JSON of a simulation both show.
//
// Held by tests/e2e/simulate_test.cc.
#pragma once

#include <cstddef>
#include <vector>

#include "cli/simulate.h"
#include "report/percentiles.h"

namespace pentafold {

using Series = std::vector<double>;

struct PoolCurves {
  double bucket_s = 0;
  Series queue, running, kv, busy;  // sequences, sequences, share of blocks, share of replicas
};
// At most `most` points, each the mean over bucket_s.
PoolCurves curves_of(const PoolUse& use, std::size_t most);

struct NamedDistribution {
  const char* name;  // "TTFT"
  const char* key;   // "ttft_s"
  const Distribution& values;
};
std::vector<NamedDistribution> distributions(const ServiceSummary& summary);

// One metric of the same requests, measured and simulated.
struct MeasuredMetric {
  const char* name;
  const char* key;
  Distribution measured;
  Distribution simulated;
};
// Empty unless the trace is of a measured run.
std::vector<MeasuredMetric> measured_metrics(const SimulationAnswer& answer);
// 0.1: the simulation says a tenth too much.
double error_of(double simulated, double measured);

}  // namespace pentafold
