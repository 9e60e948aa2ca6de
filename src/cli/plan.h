// `pentafold plan`: model + fleet + workload + targets -> the best plan, or why there is none.
//
// The options become a Problem (plan_request.cc) and, where a workload is to be simulated, a trace
// (plan_simulated.cc); the search answers it, plan_output.cc says it: as text, as JSON, as plan
// files, as a report. Exit codes: 0 a plan, 1 none, 2 bad input.
// Held by tests/e2e/plan_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/simulate_workload.h"
#include "planner/search.h"
#include "planner/trace_round.h"
#include "planner/why.h"
#include "spec/load_shape.h"

namespace pentafold {

struct PlanVerbOptions {
  std::string model;
  std::string gpu;
  std::string gpus;  // a number, or "min"; empty: the cluster's, or min
  std::string cluster;
  std::optional<std::int64_t> isl;
  std::optional<std::int64_t> osl;
  std::optional<std::int64_t> batch;
  std::string rate;
  std::optional<double> skew;
  std::string expert_load;
  std::string workload;
  std::string engine = "generic";
  std::string target;
  std::string precision;  // empty: as stored, and the next narrower for comparison
  std::string kv;
  std::string mode = "any";
  std::optional<std::int64_t> top_k;
  std::optional<double> dollars_per_hour;
  std::int64_t max_gpus = 1024;
  std::string out;
  std::string report;
  std::string explain_number;
  bool pareto = false;
  bool json = false;
  int threads = 1;
};

// Of the verb itself; the lengths and the rate are in `arrivals`, where simulate has them too.
struct PlanQuestionOptions {
  PlanVerbOptions request;
  ArrivalOptions arrivals;
  ServingOptions serving;
  std::string slo;
  std::int64_t simulated_plans = 8;
};
int plan_verb(const PlanQuestionOptions& options);

// What was asked, as typed names and a Problem.
struct PlanRequest {
  Problem problem;
  ShapeInput model;
};
Result<PlanRequest> plan_request(const PlanVerbOptions& options);

// The plan files of a deployment: the first is `path`; a split one has a second for its prompts,
// which the first names.
struct PlanFile {
  std::string path;
  std::string text;
};
std::vector<PlanFile> plan_files(const PlanRequest& request, const Deployment& deployment,
                                 const std::string& path);

// The last round, in which the best plans serve a workload.
struct SimulatedRound {
  TraceRound round;
  LeftOut left_out;
  SimulatedSearch found;
  double search_s = 0;
};
// The question with its workload; none where nothing is to be simulated, the request then is all.
struct PlanQuestion {
  PlanRequest request;
  std::optional<SimulatedRound> simulated;
};
Result<PlanQuestion> plan_question(const PlanQuestionOptions& options);

struct PlanAnswer {
  const PlanRequest& request;
  const SearchResult& result;
  const SimulatedRound* simulated = nullptr;
  const WhyNot* why = nullptr;  // of a search without a plan that could be simulated
  double seconds = 0;
};
std::string format_found(const PlanAnswer& answer);
std::string format_not_found(const PlanAnswer& answer);
std::string found_json(const PlanAnswer& answer);
// What the round was and what it changed; a table. Empty without a round.
std::string format_round(const PlanAnswer& answer);
// Its first sentence: "the closed form's best misses ttft_p99; ...".
std::string round_change(const SimulatedRound& simulated);

}  // namespace pentafold
