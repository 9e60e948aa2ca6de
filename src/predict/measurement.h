// Measurement: one published number of a serving benchmark, mapped to what can be predicted.
//
// A row of a measurements file (docs/validation.md lists the columns) names a GPU, a model, an
// engine, a parallel layout, lengths, a load and one metric's value, each in its author's words.
// Reading maps them by rule to this program's terms; a row that lacks one, or says something that
// no rule covers, is skipped with a reason and the field's text, never guessed. Two defects of
// published files are mended where the row itself proves them (predict/measurement_checks.h).
// Cost: some 10 us a row; a few hundred bytes a row, shapes and devices shared. Held by
// predict/measurement_test.cc and tests/fuzz/measurement_fuzz.cc.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "plan/worker.h"
#include "predict/worker_cost.h"
#include "spec/cluster.h"
#include "spec/model_shape.h"

namespace pentafold {

enum class Quantity { Ttft, Tpot, E2e, OutputTokens, InputTokens, TotalTokens, Requests };
enum class Statistic { Mean, Median, P90, P99 };  // over requests; rates are means

struct Metric {
  Quantity quantity = Quantity::Tpot;
  Statistic statistic = Statistic::Mean;
  bool per_gpu = false;  // rates only
  bool is_time() const { return quantity <= Quantity::E2e; }
  friend bool operator==(const Metric&, const Metric&) = default;
};
std::string to_string(const Metric& metric);  // "median TTFT", "output tokens/s/GPU"

// Lengths of a run's requests: uniform between low and high; all alike where these are equal.
struct LengthRange {
  double low = 0;
  double high = 0;
  double mean() const { return (low + high) / 2; }
  bool exact() const { return low == high; }
  friend bool operator==(const LengthRange&, const LengthRange&) = default;
};

enum class LoadKind {
  ClosedLoop,   // `concurrency` requests in flight, the next comes when one is done
  StaticBatch,  // `concurrency` requests at once, and no other
  AllQueued,    // all requests there from the start, as many at once as fit
};
const char* to_string(LoadKind kind);

// Workers of one role; `replicas` alike. Stages are equal but for a layer; batch and chunk are left
// to who predicts: measurements do not state them.
struct MeasuredPool {
  Worker worker;
  std::int64_t replicas = 1;
  Role role = Role::Both;
  std::int64_t gpus() const { return worker.gpus() * replicas; }
  friend bool operator==(const MeasuredPool&, const MeasuredPool&) = default;
};

struct Measurement {
  int line = 0;
  std::string id;
  std::string group;
  std::string run;             // same for all metrics of one run
  std::string model_name;      // of the catalog
  std::string gpu_name;        // likewise
  std::string engine;          // "vllm", "sglang", "tensorrt-llm", "atom"
  std::string engine_version;  // as written
  std::string month;           // it was measured in, "2025-11"; empty: not known
  std::shared_ptr<const ModelShape> model;
  std::shared_ptr<const ClusterSpec> cluster;  // of `gpus` devices
  std::vector<MeasuredPool> pools;             // one, or prefill then decode
  std::int64_t gpus = 0;                       // of all pools
  LengthRange input;
  LengthRange output;
  LoadKind load = LoadKind::ClosedLoop;
  std::int64_t concurrency = 0;  // 0: AllQueued
  std::int64_t requests = 0;     // of the run; 0: not known
  Metric metric;
  double value = 0;  // seconds, or per second
  char quality = 'A';
  bool inferencex = false;  // a run of its client (predict/measurement_checks.h)
  bool assumed = false;     // a degree or number format is the source's guess
  bool mended = false;      // measurement_checks.h changed the layout
  bool split() const { return pools.size() == 2; }
};

// Everything that decides a prediction, in one text: equal for rows predicted once.
std::string configuration(const Measurement& m);
// "sglang@2025-11", or the engine alone where no month is known: predict/engine_profile.h.
std::string engine_then(const Measurement& m);
// GPU, model, number formats, engine, lengths and load: what two layouts of one job have in common.
std::string job(const Measurement& m);
// "tp8 ep8", "1 x tp4 + 2 x dp8 ep8"
std::string layout(const Measurement& m);

enum class SkipReason {
  UnknownGpu,
  UnknownModel,
  UnknownEngine,
  UnknownPrecision,
  UnknownLayout,
  UnknownLengths,
  UnknownLoad,
  OpenLoop,           // arrivals at a rate or from a trace that the row does not hold
  OnePhase,           // prefill or decode alone was measured
  OtherMetric,        // memory, or times of parts of a step
  Speculative,        // draft tokens
  LowQuality,         // the file marks it as incomplete
  DoubtedBySource,    // a note says not to compare this metric
  Malformed,          // no number where one belongs
  ContradictsItself,  // its own numbers cannot be of one run
  NotPredicted,       // the layout does not fit the model, or not the memory
};
const char* to_string(SkipReason reason);  // "unknown layout"

struct SkippedRow {
  int line = 0;
  std::string id;
  SkipReason reason = SkipReason::Malformed;
  std::string detail;  // "tp \"x\""
};

struct Measurements {
  std::vector<Measurement> rows;
  std::vector<SkippedRow> skipped;
  std::int64_t mended = 0;
};

// A .csv or .csv.gz file. Only what makes the whole file unusable is an error: it cannot be read,
// is no CSV, lacks a column, has too many rows.
Result<Measurements> read_measurements(const std::string& path);
// The same from text; `file` is for errors.
Result<Measurements> parse_measurements(std::string_view text, const std::string& file);

}  // namespace pentafold
