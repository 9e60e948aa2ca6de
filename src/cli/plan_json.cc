#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/plan.h"
#include "planner/undecided.h"

namespace pentafold {
namespace {

using nlohmann::json;

json worker_json(const Worker& w) {
  return {{"stage_layers", w.stage_layers},
          {"dp", w.dp},
          {"sp", w.sp},
          {"tp", w.tp},
          {"ep", w.ep},
          {"etp", w.etp},
          {"redundant", w.redundant},
          {"batch", w.batch},
          {"microbatches", w.microbatches},
          {"prefill_chunk", w.chunk},
          {"gpus", w.gpus()},
          {"precision", to_string(w.precision)}};
}

json score_json(const Problem& problem, const Score& s) {
  json out = {{"ttft_s", s.ttft_s},
              {"tpot_s", s.tpot_s},
              {"tokens_per_s", s.tokens_per_s},
              {"tokens_per_s_per_gpu", s.tokens_per_s_per_gpu()},
              {"tokens_per_s_per_user", s.tokens_per_s_per_user()},
              {"prefill_tokens_per_s_per_gpu", s.prefill_tokens_per_s_per_gpu},
              {"requests_per_s", s.requests_per_s},
              {"gpus", s.gpus}};
  if (problem.cluster.gpu.dollars_per_hour > 0 && s.tokens_per_s > 0) {
    out["dollars_per_mtok"] = s.dollars_per_mtok(problem.cluster.gpu);
  }
  return out;
}

json cost_json(const Cost& cost) {
  json out = {{"seconds", cost.seconds}};
  for (std::size_t i = 0; i < kBounds; ++i) {
    out["by"][to_string(static_cast<Bound>(i))] = cost.by[i];
  }
  return out;
}

json deployment_json(const Problem& problem, const Deployment& deployment) {
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  json out = score_json(problem, deployment.score);
  for (const Pool& pool : deployment.pools) {
    const WorkerPrediction found = predict_worker(costs, pool.worker, pool.role);
    json entry = worker_json(pool.worker);
    entry["role"] = to_string(pool.role);
    entry["replicas"] = pool.replicas;
    entry["memory_bytes"] = {
        {"weights", found.memory.weights},         {"kv", found.memory.kv},
        {"activations", found.memory.activations}, {"buffers", found.memory.buffers},
        {"reserve", found.memory.reserve},         {"total", found.memory.total()}};
    if (pool.role != Role::Decode) entry["prefill"] = cost_json(found.prefill);
    if (pool.role != Role::Prefill) entry["decode"] = cost_json(found.decode);
    out["pools"].push_back(std::move(entry));
  }
  return out;
}

json miss_json(const Miss& miss, const Worker& worker) {
  return {{"limit", to_string(miss.limit)},
          {"reached", miss.reached},
          {"bound", miss.bound},
          {"worker", worker_json(worker)}};
}

json why_json(const WhyNot& why) {
  json out = {{"certificates", json::array()}, {"relaxations", json::array()}};
  for (const Certificate& c : why.certificates) {
    out["certificates"].push_back({{"limit", to_string(c.limit)},
                                   {"target", c.target},
                                   {"bound", c.bound},
                                   {"proves", c.proves()},
                                   {"sentence", sentence(c)}});
  }
  if (why.nearest) out["nearest"] = miss_json(*why.nearest, why.nearest_worker);
  for (const FewestGpus& fewest : why.fewest) {
    out["fewest_gpus"][to_string(fewest.precision)] =
        fewest.gpus ? json(*fewest.gpus) : json(nullptr);
  }
  for (const Relaxation& r : why.relaxations) {
    json entry = {{"change", r.change}, {"option", r.option}, {"note", r.note}};
    entry["found"] = deployment_json(r.problem, r.found);
    out["relaxations"].push_back(std::move(entry));
  }
  return out;
}

json distribution_json(const Distribution& d) {
  return {{"n", d.n}, {"mean", d.mean}, {"p50", d.p50}, {"p90", d.p90}, {"p99", d.p99}};
}

json simulated_json(const SimulatedPlan& plan) {
  const Score& closed = plan.deployment.score;
  json out = {{"plan", describe(plan.deployment)},
              {"gpus", closed.gpus},
              {"place", plan.place},
              {"met", plan.met()},
              {"closed_form",
               {{"ttft_s", closed.ttft_s},
                {"tpot_s", closed.tpot_s},
                {"tokens_per_s_per_gpu", closed.tokens_per_s_per_gpu()}}}};
  if (!plan.failure.empty()) {
    out["failure"] = plan.failure;
    return out;
  }
  const ServiceSummary& s = plan.summary;
  out["simulated"] = {{"finished", s.finished},
                      {"rejected", s.rejected},
                      {"duration_s", s.duration_s},
                      {"ttft_s", distribution_json(s.ttft)},
                      {"tpot_s", distribution_json(s.tpot)},
                      {"itl_s", distribution_json(s.itl)},
                      {"e2e_s", distribution_json(s.e2e)},
                      {"tokens_per_s_per_gpu", plan.rate_per_gpu(false)},
                      {"goodput_per_s", s.goodput_per_s}};
  out["limits"] = json::array();
  for (const ServedCheck& check : plan.checks) {
    out["limits"].push_back({{"name", check.name},
                             {"bound", check.bound},
                             {"reached", check.reached},
                             {"used", check.used},
                             {"met", check.met()}});
  }
  return out;
}

json round_json(const SimulatedRound& simulated) {
  json out = {{"trace", simulated.round.trace.file},
              {"requests", simulated.round.trace.requests.size()},
              {"too_long", simulated.left_out.requests},
              {"change", round_change(simulated)},
              {"means_lifted", simulated.found.lifted},
              {"plans", json::array()},
              {"nobody_meets", json::array()}};
  for (const SimulatedPlan& plan : simulated.found.plans) {
    out["plans"].push_back(simulated_json(plan));
  }
  if (!simulated.found.search.winner) out["nobody_meets"] = why_none_serves(simulated.found);
  return out;
}

}  // namespace

std::string found_json(const PlanAnswer& answer) {
  const Problem& problem = answer.request.problem;
  const SearchResult& result = answer.result;
  json out = {{"model", problem.model.name},  {"gpu", problem.cluster.gpu.name},
              {"gpus", problem.cluster.gpus}, {"isl", problem.workload.isl},
              {"osl", problem.workload.osl},  {"targets", format_targets(problem.targets)},
              {"candidates", result.lattice}, {"evaluated", result.evaluated},
              {"search_s", answer.seconds},   {"feasible", result.winner.has_value()},
              {"families", json::array()}};
  if (result.winner) out["winner"] = deployment_json(problem, *result.winner);
  for (const Deployment& deployment : result.best) {
    out["by_precision"][to_string(deployment.decode_pool().worker.precision)] =
        deployment_json(problem, deployment);
  }
  for (const StrategyFamily& family : result.families) {
    json entry = {
        {"name", family.disaggregated ? "prefill and decode apart" : family_name(family.kinds)}};
    if (family.best) entry["best"] = deployment_json(problem, *family.best);
    if (family.nearest) entry["nearest_miss"] = miss_json(*family.nearest, family.nearest_worker);
    out["families"].push_back(std::move(entry));
  }
  for (const Deployment& deployment : result.pareto) {
    json entry = score_json(problem, deployment.score);
    entry["plan"] = describe(deployment);
    out["pareto"].push_back(std::move(entry));
  }
  out["undecided"] = json::array();
  for (const Undecided& other : undecided(problem, result)) {
    out["undecided"].push_back({{"kind", other.kind},
                                {"behind", std::expm1(other.behind)},
                                {"error80", std::expm1(other.error)},
                                {"plan", deployment_json(problem, other.deployment)}});
  }
  if (answer.why != nullptr) out["why_not"] = why_json(*answer.why);
  if (answer.simulated != nullptr) out["simulated"] = round_json(*answer.simulated);
  return out.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace pentafold
