// Workload and Targets: what is asked of a deployment, and what would be good enough.
//
// Units are part of every number that has one ("1s", "20ms", "80GB"): a bare number where a unit
// belongs is refused, and so are negative or contradictory ones.
// Cost: plain values. Held by spec/workload_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "spec/expert_histogram.h"

namespace pentafold {

struct Workload {
  std::int64_t isl = 0;               // input tokens of a request
  std::int64_t osl = 0;               // output tokens of a request
  std::optional<std::int64_t> batch;  // concurrent requests over all devices; else free
  std::optional<double> rate_per_s;   // requests arriving; else as many as can be served
  double skew = 0;  // Zipf exponent of the experts' load; 0: even (predict/expert_load.h)
  // In place of an exponent: the load as counted, of this model (check_fits).
  std::shared_ptr<const ExpertHistogram> expert_load = nullptr;

  bool even() const { return skew == 0 && !expert_load; }
};

// What is optimised once all limits hold.
enum class Objective { TokensPerSecondPerGpu, Gpus, Cost, Ttft, Tpot };
const char* to_string(Objective objective);

// Of the requests of a simulated workload: what so many of them see at most.
enum class ServedMetric { Ttft, Tpot, Itl, E2e };
struct ServedLimit {
  ServedMetric metric = ServedMetric::Ttft;
  int percent = 99;  // 50, 90 or 99; 0: the mean
  double seconds = 0;
  std::string name() const;  // "ttft_p99", "e2e_mean"
};

struct Targets {
  std::optional<double> ttft_s;                        // at most
  std::optional<double> tpot_s;                        // at most
  std::optional<double> tokens_per_s_per_gpu;          // at least, generated
  std::optional<double> prefill_tokens_per_s_per_gpu;  // at least, prompt tokens
  std::optional<double> tokens_per_s;                  // at least, generated, whole deployment
  std::optional<double> dollars_per_mtok;              // at most, per million generated
  double memory_fraction = 0.9;                        // of a device that may be used
  std::vector<ServedLimit> served;                     // each name once
  std::optional<double> goodput_per_s;  // at least, requests that hold the limits of each
  Objective objective = Objective::TokensPerSecondPerGpu;
};

// "ttft=1s,tpot=20ms,tokens_per_s_per_gpu=1000,gpus=min": limits, and at most one of
// gpus|cost|ttft|tpot=min, tokens_per_s_per_gpu=max (the default). ttft, tpot, itl and e2e with
// _p50, _p90, _p99 or _mean, and goodput (12/s), are for simulated workloads. "" asks for nothing
// else.
Result<Targets> parse_targets(const std::string& text);

// YAML: isl, osl, batch | rate, skew | expert_load (a file beside `file`); docs/workload-format.md.
// What is accepted passes validate() without targets.
Result<Workload> parse_workload(const std::string& yaml_text, const std::string& file);
Result<Workload> load_workload(const std::string& path);

// Why workload and targets cannot be meant: an empty prompt, batch and rate together, a TPOT where
// only one token is generated, more tokens/s than arrive, ...
Status validate(const Workload& workload, const Targets& targets);

}  // namespace pentafold
