// predict_measurement: what the cost model says a published run should have measured.
//
// All metrics of a run come from one prediction, so rows with the same configuration()
// (predict/measurement.h) are predicted once. Nothing of the row's value is read.
// Source: predict/worker_cost.h. Cost: that of pricing a worker, and of its memory some twenty
// times where the load fills it. Held by predict/predict_measurement_test.cc.
#pragma once

#include <array>

#include "base/result.h"
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

}  // namespace pentafold
