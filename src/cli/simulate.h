// `pentafold simulate PLAN`: a served workload, step by step, before there is a server.
//
// A trace (or a generated workload) goes through the plan's replicas: the scheduler, KV blocks and
// router of policy/, the step times of predict/. simulate_workload.cc and simulate_case.cc make the
// question of the options, simulate_output.cc says the answer, simulate_timeline.cc draws it.
// Exit codes: 0 done, 1 no request could be served, 2 bad input. Held by
// tests/e2e/simulate_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/plan.h"
#include "cli/simulate_workload.h"
#include "planner/plan_explain.h"
#include "predict/simulate.h"
#include "predict/simulate_ranks.h"

namespace pentafold {

struct SimulateOptions {
  std::string plan;
  PlanVerbOptions request;  // model, device, engine; the lengths come from the trace
  ArrivalOptions arrivals;
  ServingOptions serving;
  std::string slo;
  std::string chrome_trace;
  std::string requests_out;
  bool json = false;
};
int simulate_verb(const SimulateOptions& options);

// The question, complete. Others point into it: it stays where it is.
struct SimulationCase {
  ServedTrace arriving;
  PlanRequest request;
  Contender plan;
  std::unique_ptr<StepCost> costs;
  PlannedService served;
  ServiceTargets slo;
  SimulationCase() = default;
  SimulationCase(const SimulationCase&) = delete;
  SimulationCase& operator=(const SimulationCase&) = delete;

  const ReplicaPool& pool(std::size_t i) const {
    const Service& service = served.service;
    return i + 1 == plan.pools.size() && service.decode ? *service.decode : service.serving;
  }
};
Result<std::unique_ptr<SimulationCase>> simulation_case(const SimulateOptions& options);

struct SimulationAnswer {
  const SimulationCase& asked;
  const Simulation& found;
  std::vector<std::vector<RankTime>> ranks;  // by pool
  double step_factor = 1;  // the 80 % interval of a step's time is divided and multiplied by it
};
std::string format_simulation(const SimulationAnswer& answer);
std::string simulation_json(const SimulationAnswer& answer);
// One line a request.
Status write_requests(const SimulationAnswer& answer, const std::string& path);

}  // namespace pentafold
