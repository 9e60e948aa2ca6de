#include "cli/predict.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/contender.h"
#include "cli/verbs.h"
#include "predict/skew_report.h"

namespace pentafold {
namespace {

using Json = nlohmann::ordered_json;

struct Prediction {
  PlanRequest request;
  Contender plan;
  ContenderView view;
  std::vector<std::optional<ExpertBalance>> balance;  // by pool
};

Result<Prediction> prediction_of(const PredictOptions& options) {
  PF_ASSIGN(Plan plan, read_plan_or_shorthand(options.plan));
  PlanVerbOptions asked = options.request;
  if (asked.model.empty()) asked.model = plan.model;
  if (asked.gpu.empty() && asked.cluster.empty()) asked.gpu = plan.device;
  Prediction out;
  PF_ASSIGN(out.request, plan_request(asked));
  plan.model = asked.model;
  const Problem& problem = out.request.problem;
  PF_ASSIGN(out.plan, contender_of(plan, problem, plan_name(plan, "plan")));
  if (problem.workload.batch) {
    for (Pool& pool : out.plan.pools) {
      if (pool.role == Role::Prefill) continue;
      const std::int64_t groups = pool.replicas * pool.worker.dp;
      pool.worker.batch =
          std::max<std::int64_t>((*problem.workload.batch + groups - 1) / groups, 1);
    }
  }
  out.view = view(problem, out.plan);
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  for (const Pool& pool : out.plan.pools) {
    out.balance.push_back(expert_balance(costs, pool.worker));
  }
  return out;
}

// Errors of several operators partly cancel: half of their sum stands for all.
constexpr double kTogether = 0.5;

double half_width(const Cost& cost) {
  return cost.seconds > 0 ? std::exp(kTogether * cost.error_s / cost.seconds) : 1;
}

std::string interval(double seconds, const Cost& cost) {
  const double factor = half_width(cost);
  return fmt::format("{} ({} to {})", format_seconds(seconds), format_seconds(seconds / factor),
                     format_seconds(seconds * factor));
}

void print_cost(const char* what, const Cost& cost, double seconds) {
  fmt::print("\n{}: {}\n", what, interval(seconds, cost));
  for (std::size_t i = 0; i < kBounds; ++i) {
    if (cost.by[i] <= 0) continue;
    fmt::print("  {:<32} {:>10}  {:>5.1f} %\n", to_string(static_cast<Bound>(i)),
               format_seconds(cost.by[i]), 100 * cost.by[i] / cost.seconds);
  }
  std::string from;
  for (std::size_t i = 0; i < kProvenances; ++i) {
    if (cost.from[i] <= 0) continue;
    from += fmt::format("{}{} {:.0f} %", from.empty() ? "" : ", ",
                        to_string(static_cast<Provenance>(i)), 100 * cost.from[i] / cost.seconds);
  }
  fmt::print("  operators' numbers: {}\n", from);
}

// At which skew experts cut over their ranks become faster than whole ones spread over them.
void print_balance(const ExpertBalance& balance, Role role) {
  std::string when;
  if (role != Role::Prefill) when = "decode " + break_even_text(balance.decode_skew);
  if (role != Role::Decode) {
    when += (when.empty() ? "prefill " : ", prefill ") + break_even_text(balance.prefill_skew);
  }
  fmt::print("\nexperts cut over {} ranks (ep 1, etp {}) instead of ep {} are faster: {}{}\n",
             balance.cut.etp, balance.cut.etp, balance.spread.ep, when,
             balance.cut_folds ? "" : " (this model's experts cannot be cut that far)");
}

void print_text(const Prediction& p) {
  const Problem& problem = p.request.problem;
  const Workload& w = problem.workload;
  fmt::print("{} on {} GPUs ({}), engine {}, {} tokens in, {} out\n", problem.model.name,
             p.plan.gpus(), problem.cluster.gpu.name, problem.engine.name, w.isl, w.osl);
  for (std::size_t i = 0; i < p.plan.pools.size(); ++i) {
    const Pool& pool = p.plan.pools[i];
    const WorkerPrediction& one = p.view.predictions[i];
    fmt::print(
        "\n{} x {} ({})\n  memory {} of {} a GPU{}; busiest rank has {:.2f} x the even load\n",
        pool.replicas, describe(pool.worker), to_string(pool.role),
        format_bytes(one.memory.total()), format_bytes(problem.cluster.gpu.memory_bytes),
        one.memory.total() > problem.memory_limit() ? ": DOES NOT FIT" : "", one.peak_share);
    if (pool.role != Role::Decode) {
      print_cost(fmt::format("prefill pass of {} prompts a dp group", one.timing.prompts).c_str(),
                 one.prefill, one.timing.prefill_s);
    }
    if (pool.role != Role::Prefill) {
      print_cost(fmt::format("decode step of {} sequences a dp group", pool.worker.batch).c_str(),
                 one.decode, one.timing.decode_s);
    }
    if (p.balance[i]) print_balance(*p.balance[i], pool.role);
  }
  fmt::print("\nkept full, without a queue:\n");
  fmt::print("  TTFT          {}\n", interval(p.view.ttft_s, p.view.prefill));
  if (w.osl > 1) fmt::print("  TPOT          {}\n", interval(p.view.tpot_s, p.view.decode));
  const double factor = half_width(p.view.token);
  fmt::print("  tokens/s/GPU  {:.1f} ({:.1f} to {:.1f})\n", p.view.tokens_per_s_per_gpu,
             p.view.tokens_per_s_per_gpu / factor, p.view.tokens_per_s_per_gpu * factor);
}

Json cost_json(const Cost& cost, double seconds) {
  Json by = Json::object();
  for (std::size_t i = 0; i < kBounds; ++i) by[to_string(static_cast<Bound>(i))] = cost.by[i];
  Json from = Json::object();
  for (std::size_t i = 0; i < kProvenances; ++i) {
    from[to_string(static_cast<Provenance>(i))] = cost.from[i];
  }
  const double factor = half_width(cost);
  return {{"seconds", seconds},
          {"interval80", {seconds / factor, seconds * factor}},
          {"by", by},
          {"operators_from", from}};
}

Json balance_json(const ExpertBalance& balance) {
  const auto skew = [](const std::optional<double>& s) { return s ? Json(*s) : Json(nullptr); };
  return {{"ep", balance.spread.ep},
          {"cut_etp", balance.cut.etp},
          {"cut_folds", balance.cut_folds},
          {"decode_break_even_skew", skew(balance.decode_skew)},
          {"prefill_break_even_skew", skew(balance.prefill_skew)},
          {"highest_skew_tried", kHighestSkew},
          {"asked",
           {{"spread_decode_s", balance.asked.spread_decode_s},
            {"cut_decode_s", balance.asked.cut_decode_s},
            {"spread_prefill_s", balance.asked.spread_prefill_s},
            {"cut_prefill_s", balance.asked.cut_prefill_s}}}};
}

void print_json(const Prediction& p) {
  const Problem& problem = p.request.problem;
  Json pools = Json::array();
  for (std::size_t i = 0; i < p.plan.pools.size(); ++i) {
    const Pool& pool = p.plan.pools[i];
    const WorkerPrediction& one = p.view.predictions[i];
    Json entry = {{"worker", describe(pool.worker)},
                  {"replicas", pool.replicas},
                  {"role", to_string(pool.role)},
                  {"memory_bytes", one.memory.total()},
                  {"peak_share", one.peak_share}};
    if (pool.role != Role::Decode) entry["prefill"] = cost_json(one.prefill, one.timing.prefill_s);
    if (pool.role != Role::Prefill) entry["decode"] = cost_json(one.decode, one.timing.decode_s);
    if (p.balance[i]) entry["expert_balance"] = balance_json(*p.balance[i]);
    pools.push_back(entry);
  }
  const Json out = {{"model", problem.model.name},
                    {"gpu", problem.cluster.gpu.name},
                    {"gpus", p.plan.gpus()},
                    {"engine", problem.engine.name},
                    {"fits", p.view.fits},
                    {"ttft_s", p.view.ttft_s},
                    {"tpot_s", p.view.tpot_s},
                    {"tokens_per_s_per_gpu", p.view.tokens_per_s_per_gpu},
                    {"pools", pools}};
  fmt::print("{}\n", out.dump(2));
}

}  // namespace

int predict_verb(const PredictOptions& options) {
  const auto prediction = prediction_of(options);
  if (!prediction.ok()) return report_error(prediction.error());
  if (options.json) {
    print_json(*prediction);
  } else {
    print_text(*prediction);
  }
  return prediction->view.fits ? 0 : 1;
}

}  // namespace pentafold
