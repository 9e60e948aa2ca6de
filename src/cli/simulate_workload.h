// What arrives at a service and how it is served, as options: `simulate` and `plan --trace` read
// them alike.
// Held by tests/e2e/simulate_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "planner/problem.h"
#include "predict/simulate_plan.h"
#include "spec/trace.h"

namespace pentafold {

// A trace, or a process with lengths.
struct ArrivalOptions {
  std::string trace;
  std::string rate;
  std::string arrivals;
  std::optional<double> cv;
  std::optional<std::int64_t> concurrency;
  std::optional<std::int64_t> requests;
  std::string isl;
  std::string osl;
  std::uint64_t seed = 0;
  double time_scale = 1;
};

// What is decided beside the plan.
struct ServingOptions {
  std::string router = "round_robin";
  std::string preempt = "recompute";
  std::optional<std::int64_t> max_sequences;
  std::optional<std::int64_t> step_tokens;
  std::optional<std::int64_t> kv_tokens;
  std::optional<std::int64_t> max_context;
  std::optional<double> memory_fraction;
  bool no_prefix_cache = false;
};

// Requests for which the model has no positions.
struct LeftOut {
  std::int64_t requests = 0;
  std::int64_t positions = 0;  // of the model; 0: without end
};
struct ServedTrace {
  Trace trace;
  LeftOut left_out;
};
// A line: file, requests, lengths, rate; another for what was left out.
std::string describe(const Trace& trace, const LeftOut& left_out);
Result<ServedTrace> trace_for(const ArrivalOptions& options, const ModelShape& model);

// The workload at which windows are spread over blocks, caches travel, and the closed form thinks.
struct MeanLengths {
  std::int64_t isl = 1;
  std::int64_t osl = 1;
};
MeanLengths mean_lengths(const Trace& trace);
double mean_tokens(const Trace& trace, std::int64_t TraceRequest::* tokens);

// Errors name the option.
Result<ServingChoices> serving_choices(const ServingOptions& options);
// Those of the options that change what the devices and the engine are taken to do.
void apply_serving(const ServingOptions& options, Problem& problem);
// "ttft=1s,tpot=20ms,e2e=30s", each at most.
Result<ServiceTargets> parse_slo(const std::string& text);

}  // namespace pentafold
