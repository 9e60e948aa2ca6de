// measurement_checks: rows whose own numbers show that they cannot be as they are written.
//
// A closed loop obeys Little's law: requests finished per second, times the mean seconds each takes
// (TTFT and TPOT for every further token), is the number in flight. InferenceX's client keeps the
// loop full for ten times the concurrency, and the metrics of a run are separate rows, so a run
// that prints both latencies and a rate can be checked without any prediction.
//   - One export multiplies a worker's devices by its expert degree ("tp4 ep16 dp4 on 16 GPUs" of a
//     run with tp4 ep4 on 4: the law is missed by just that factor, and where the export kept the
//     run's own tp and ep in its id, they say so). Such layouts are mended.
//   - Any other run that misses the law by more than kLittleTolerance mixes two runs: skipped.
// Cost: O(rows log rows). Held by predict/measurement_test.cc.
#pragma once

#include "predict/measurement.h"

namespace pentafold {

// Ramp-up and ramp-down cost 2 to 5 % in full runs, 10 % in the shortest.
inline constexpr double kLittleTolerance = 0.18;

void check_measurements(Measurements& measurements);

}  // namespace pentafold
