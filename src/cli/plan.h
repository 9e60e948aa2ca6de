// `pentafold plan`: model + fleet + workload + targets -> the best plan, or why there is none.
//
// The options become a Problem (plan_request.cc), the search answers it, plan_output.cc says it:
// as text, as JSON, as plan files, as a report. Exit codes: 0 a plan, 1 none, 2 bad input.
// Held by tests/e2e/plan_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "planner/search.h"
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
int plan_verb(const PlanVerbOptions& options);

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

std::string format_found(const PlanRequest& request, const SearchResult& result, double seconds);
std::string format_not_found(const PlanRequest& request, const SearchResult& result,
                             const WhyNot& why, double seconds);
std::string found_json(const PlanRequest& request, const SearchResult& result, const WhyNot* why,
                       double seconds);

}  // namespace pentafold
