// predict_measurement: what this program says a published benchmark run should have measured.
//
// The run is simulated as it was made: its lengths, its closed loop or its queue, through the
// engine's batching (predict/simulate.h), every step priced by calibrated operators and the
// engine's profile. All metrics of a run come from one simulation, so rows with the same
// configuration() (predict/measurement.h) are predicted once. Nothing of the row's value is read.
// Intervals: errors of the operators, and what fits of whole runs left over (docs/validation.md).
// Cost: 1 to 300 ms a run, mostly its number of requests. Held by
// predict/predict_measurement_test.cc and `pentafold validate`.
#pragma once

#include <array>

#include "base/result.h"
#include "predict/engine_profile.h"
#include "predict/measurement.h"

namespace pentafold {

// 80 of 100 measurements should lie between low and high.
struct Interval {
  double value = 0;
  double low = 0;
  double high = 0;
  Interval operator*(double factor) const { return {value * factor, low * factor, high * factor}; }
};

struct PredictedMetrics {
  std::array<Interval, 4> ttft_s;  // by Statistic
  std::array<Interval, 4> tpot_s;
  std::array<Interval, 4> e2e_s;
  Interval requests_per_s;
  // Tokens of a finished request, to turn requests into tokens.
  double input_tokens = 0;
  double output_tokens = 0;

  // Of `gpus` devices, in the units of Measurement::value.
  Interval of(const Metric& metric, std::int64_t gpus) const;
};

// InfeasiblePlan: not one sequence fits beside the weights.
Result<PredictedMetrics> predict_measurement(const Measurement& measurement);
// Under another profile than the catalog's for its engine and device.
Result<PredictedMetrics> predict_measurement_as(const Measurement& measurement,
                                                const EngineProfile& engine);

}  // namespace pentafold
