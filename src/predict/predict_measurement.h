// predict_measurement: what this program says a published benchmark run should have measured.
//
// The run is simulated as it was made: its lengths, its closed loop or its queue, through the
// engine's batching, priced by calibrated operators; every metric of the run comes out of the same
// simulation. Nothing is known of the run but its configuration.
// Cost: 1 to 100 ms a run. Held by predict/predict_measurement_test.cc and `pentafold validate`.
#pragma once

#include <optional>

#include "base/result.h"
#include "predict/measurement.h"
#include "predict/simulate_summary.h"

namespace pentafold {

struct Interval {
  double value = 0;
  double low = 0;  // 80 %
  double high = 0;
};

struct PredictedRun {
  ServiceSummary summary;
  double input_tokens_per_s = 0;
  double time_log_error = 0;   // half-width of the 80 % interval of step times, in ln
  double queue_log_error = 0;  // what a TTFT has beside
  // nullopt: the run has no such value (a TPOT of one token).
  std::optional<Interval> metric(const Metric& metric) const;
};

// Fails when the layout does not fit the model or the memory. `engine`: in place of the catalog's.
Result<PredictedRun> predict_measurement(const Measurement& measurement,
                                         const EngineProfile* engine = nullptr);

}  // namespace pentafold
