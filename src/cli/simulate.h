// `pentafold simulate PLAN`: a served workload, step by step, before there is a server.
//
// A trace (or a generated workload) goes through the plan's replicas: the scheduler, KV blocks and
// router of policy/, the step times of predict/. simulate_case.cc makes the question of the
// options, simulate_output.cc says the answer, simulate_timeline.cc draws it.
// Exit codes: 0 done, 1 no request could be served, 2 bad input. Held by
// tests/e2e/simulate_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/plan.h"
#include "planner/plan_explain.h"
#include "predict/simulate.h"
#include "predict/step_pricer.h"
#include "spec/arrivals.h"

namespace pentafold {

struct SimulateOptions {
  std::string plan;
  PlanVerbOptions request;  // model, device, engine; the lengths come from the trace
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
  std::string slo;
  std::string router = "round_robin";
  std::string preempt = "recompute";
  std::optional<std::int64_t> max_sequences;
  std::optional<std::int64_t> step_tokens;
  std::optional<std::int64_t> kv_tokens;
  std::optional<std::int64_t> max_context;
  std::optional<double> memory_fraction;
  bool no_prefix_cache = false;
  std::string chrome_trace;
  std::string requests_out;
  bool json = false;
};
int simulate_verb(const SimulateOptions& options);

// The question, complete. Others point into it: it stays where it is.
struct SimulationCase {
  Trace trace;
  std::int64_t too_long = 0;  // requests left out: the model has no positions for them
  std::int64_t positions = 0;
  PlanRequest request;
  Contender plan;
  std::unique_ptr<StepCost> costs;
  std::vector<StepPricer> pricers;  // by pool, as the simulation prices steps
  Service service;
  ServiceTargets slo;
  SimulationCase() = default;
  SimulationCase(const SimulationCase&) = delete;
  SimulationCase& operator=(const SimulationCase&) = delete;

  const ReplicaPool& pool(std::size_t i) const {
    return i + 1 == plan.pools.size() && service.decode ? *service.decode : service.serving;
  }
};
Result<std::unique_ptr<SimulationCase>> simulation_case(const SimulateOptions& options);
// "ttft=1s,tpot=20ms,e2e=30s", each at most.
Result<ServiceTargets> parse_slo(const std::string& text);

// Where the time of a pool's replicas goes, in replica-seconds.
struct PoolTime {
  double compute = 0;        // arithmetic, memory, fixed costs
  double communication = 0;  // collectives and hand-overs
  double bubble = 0;         // ranks that wait for another stage
  double idle = 0;           // between steps
  double total() const { return compute + communication + bubble + idle; }
};

struct SimulationAnswer {
  const SimulationCase& asked;
  const Simulation& found;
  std::vector<PoolTime> time;  // by pool
  double step_factor = 1;      // the 80 % interval of a step's time is divided and multiplied by it
};
std::string format_simulation(const SimulationAnswer& answer);
std::string simulation_json(const SimulationAnswer& answer);
// One line a request.
Status write_requests(const SimulationAnswer& answer, const std::string& path);

}  // namespace pentafold
