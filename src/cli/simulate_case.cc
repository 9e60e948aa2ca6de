// The options of `pentafold simulate` -> a trace, a service and what is asked of it.
#include "cli/contender.h"
#include "cli/simulate.h"
#include "cli/verbs.h"

namespace pentafold {
namespace {

Status make_service(const ServingChoices& choices, const Plan& plan, SimulationCase& out) {
  const Problem& problem = out.request.problem;
  out.costs =
      std::make_unique<StepCost>(problem.model, problem.cluster, problem.engine, problem.workload);
  std::vector<PlannedPool> pools;
  for (const Pool& pool : out.plan.pools) {
    Plan own = plan;
    if (pool.role == Role::Prefill) {
      PF_ASSIGN(own, load_prefill_pool(plan, problem.model));
    }
    pools.push_back(
        {{pool.worker, pool.replicas, pool.role, problem.targets.memory_fraction}, std::move(own)});
  }
  PF_ASSIGN(out.served, planned_service(*out.costs, pools, choices));
  return ok_status();
}

}  // namespace

Result<std::unique_ptr<SimulationCase>> simulation_case(const SimulateOptions& o) {
  PF_ASSIGN(const ServingChoices choices, serving_choices(o.serving));
  auto out = std::make_unique<SimulationCase>();
  PF_ASSIGN(out->slo, parse_slo(o.slo));
  PF_ASSIGN(Plan plan, read_plan_or_shorthand(o.plan));
  PlanVerbOptions asked = o.request;
  if (asked.model.empty()) asked.model = plan.model;
  if (asked.gpu.empty() && asked.cluster.empty()) asked.gpu = plan.device;
  if (asked.model.empty()) {
    return make_error(ErrorCode::InvalidSpec,
                      "no model: give --model NAME, or a plan that names one");
  }
  PF_ASSIGN(const ShapeInput model, load_shape(asked.model));
  PF_ASSIGN(out->arriving, trace_for(o.arrivals, model.model));
  const MeanLengths lengths = mean_lengths(out->arriving.trace);
  asked.isl = lengths.isl;
  asked.osl = lengths.osl;
  PF_ASSIGN(out->request, plan_request(asked));
  plan.model = asked.model;
  Problem& problem = out->request.problem;
  apply_serving(o.serving, problem);
  PF_ASSIGN(out->plan, contender_of(plan, problem, plan_name(plan, "plan")));
  PF_TRY(make_service(choices, plan, *out));
  return out;
}

}  // namespace pentafold
