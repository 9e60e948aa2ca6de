// validate: a file of measurements held against the predictions, and the errors summed up.
//
// Definitions are in docs/validation.md and report/error_table.h. Configurations are predicted
// once each, on several threads; the result does not depend on their number.
// Cost: predict_measurement per configuration. Held by predict/validate_test.cc.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "predict/measurement.h"
#include "predict/predict_measurement.h"
#include "report/error_table.h"

namespace pentafold {

struct ValidatedRow {
  Measurement measurement;
  Interval predicted;
  double error() const { return predicted.value / measurement.value - 1; }
};

struct Validation {
  std::vector<ValidatedRow> rows;  // in the file's order
  std::vector<SkippedRow> skipped;
  std::int64_t mended = 0;
  std::int64_t configurations = 0;
};

using Predictor = std::function<Result<PredictedMetrics>(const Measurement&)>;

struct ValidateOptions {
  int threads = 1;
  Predictor predict = predict_measurement;
  // Called from one thread at a time with configurations done and in all.
  std::function<void(std::int64_t, std::int64_t)> progress;
};
// Rows that the predictor refuses join the skipped ones.
Validation validate_measurements(Measurements measurements, const ValidateOptions& options);

// What a row can be told apart by, or filtered on.
enum class Property {
  Gpu,
  Model,
  Engine,
  Metric,
  Precision,
  Ep,
  Tp,
  Dp,
  Pp,
  Mode,
  Load,
  Source,
  Quality
};
inline constexpr std::size_t kProperties = 13;
const char* to_string(Property property);  // "gpu"
Result<Property> parse_property(const std::string& name);
// "h200-sxm"; of a split deployment the decode workers' degrees.
std::string value_of(Property property, const Measurement& m);

// The three kinds of metrics that are summed up apart; end-to-end times are left out of them.
enum class MetricFamily { Tpot, Ttft, Throughput };
inline constexpr std::size_t kMetricFamilies = 3;
const char* to_string(MetricFamily family);  // "tpot"

struct ValidationSummary {
  std::array<ErrorStats, kMetricFamilies> by_family;
  // Of TPOT and of throughput per device: all layouts of a job, and those of as many devices.
  PairOrder pair_order;
  PairOrder pair_order_same_size;
  double coverage80 = 0;  // over all rows
  std::int64_t rows = 0;
  std::map<std::string, std::int64_t> skipped;  // by reason
};
ValidationSummary summarize(const Validation& validation);
// Rows by the property's value, most rows first.
ErrorTable errors_by(const Validation& validation, Property property);

}  // namespace pentafold
