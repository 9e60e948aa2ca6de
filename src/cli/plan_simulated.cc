// `pentafold plan` with a workload to simulate: what is asked, and what the simulation changed.
#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "cli/plan.h"
#include "spec/arrivals.h"

namespace pentafold {
namespace {

Error refused(std::string message) {
  return make_error(ErrorCode::InvalidSpec, std::move(message));
}

// A workload is simulated where something about it is said that the closed form cannot use.
bool simulates(const PlanQuestionOptions& o, const Targets& targets) {
  const ArrivalOptions& a = o.arrivals;
  return !a.trace.empty() || !a.arrivals.empty() || a.cv || a.concurrency || a.requests ||
         a.isl.starts_with('[') || a.osl.starts_with('[') || !o.slo.empty() ||
         wants_simulation(targets);
}

Status set_length(const std::string& text, const char* option, std::optional<std::int64_t>& out) {
  if (text.empty()) return ok_status();
  PF_ASSIGN(const TokenRange range, parse_token_range(text, option));
  out = range.low;
  return ok_status();
}

// What the options leave open is the workload file's to say.
Status fill_from_file(const std::string& file, ArrivalOptions& arrivals) {
  if (file.empty() || !arrivals.trace.empty()) return ok_status();
  PF_ASSIGN(const Workload workload, load_workload(file));
  if (arrivals.isl.empty()) arrivals.isl = fmt::format("{}", workload.isl);
  if (arrivals.osl.empty()) arrivals.osl = fmt::format("{}", workload.osl);
  if (!arrivals.rate.empty() || arrivals.concurrency) return ok_status();
  if (workload.rate_per_s) arrivals.rate = fmt::format("{}/s", *workload.rate_per_s);
  if (workload.batch) arrivals.concurrency = workload.batch;
  return ok_status();
}

// The closed form's load: a fleet as large as given is asked for what it can do, one as small as
// will do is sized for the mean rate; a closed loop keeps its requests in flight.
void set_load(const Trace& trace, bool batch_given, Problem& problem) {
  Workload& workload = problem.workload;
  workload.rate_per_s.reset();
  if (trace.concurrency > 0) {
    if (!batch_given) workload.batch = trace.concurrency;
    return;
  }
  if (!batch_given) workload.batch.reset();
  const bool fewest = problem.cluster.gpus == 0 || problem.targets.objective == Objective::Gpus;
  if (fewest && !workload.batch && trace.duration_s() > 0) {
    workload.rate_per_s = static_cast<double>(trace.requests.size() - 1) / trace.duration_s();
  }
}

Result<PlanQuestion> simulated_question(const PlanQuestionOptions& o, const Targets& targets) {
  if (targets.goodput_per_s && o.slo.empty()) {
    return refused(
        "goodput counts the requests that hold limits of their own: give them with --slo "
        "ttft=1s,tpot=20ms");
  }
  PlanQuestion out;
  SimulatedRound& last = out.simulated.emplace();
  PF_ASSIGN(last.round.serving, serving_choices(o.serving));
  PF_ASSIGN(last.round.slo, parse_slo(o.slo));
  last.round.plans = o.simulated_plans;
  ArrivalOptions arrivals = o.arrivals;
  PF_TRY(fill_from_file(o.request.workload, arrivals));
  PlanVerbOptions asked = o.request;
  if (asked.model.empty()) return plan_request(asked).error();
  PF_ASSIGN(const ShapeInput model, load_shape(asked.model));
  PF_ASSIGN(ServedTrace served, trace_for(arrivals, model.model));
  const MeanLengths lengths = mean_lengths(served.trace);
  asked.isl = lengths.isl;
  asked.osl = lengths.osl;
  PF_ASSIGN(out.request, plan_request(asked));
  Problem& problem = out.request.problem;
  apply_serving(o.serving, problem);
  set_load(served.trace, o.request.batch.has_value(), problem);
  PF_TRY(validate(problem.workload, problem.targets));
  last.round.trace = std::move(served.trace);
  last.left_out = served.left_out;
  return out;
}

std::string latencies(const Distribution& d) {
  if (d.n == 0) return fmt::format("{:>10}{:>10}", "-", "-");
  return fmt::format("{:>10}{:>10}", format_seconds(d.p50), format_seconds(d.p99));
}

// "yes", "TTFT p99 x 1.3"
std::string verdict(const SimulatedPlan& plan) {
  std::string out;
  for (const ServedCheck& check : plan.checks) {
    if (check.met()) continue;
    out += fmt::format("{}{} x {:.3g}", out.empty() ? "" : ", ", check.name, check.used);
  }
  if (out.empty()) return plan.checks.empty() ? "" : "met";
  return "misses " + out;
}

std::string round_table(const SimulatedRound& simulated, bool goodput) {
  std::string out = fmt::format(
      "{:>16}{:>29}  {}\n{:>2}{:>6}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "closed form",
      "simulated", "#", "GPUs", "TTFT", "TPOT", "TTFT p50", "p99", "TPOT p50", "p99", "tok/s/GPU");
  if (goodput) out += fmt::format("{:>10}", "good/s");
  out += "\n";
  for (const SimulatedPlan& plan : simulated.found.plans) {
    const Score& closed = plan.deployment.score;
    out += fmt::format("{:>2}{:>6}{:>10}{:>10}", plan.place, closed.gpus,
                       format_seconds(closed.ttft_s), format_seconds(closed.tpot_s));
    if (!plan.failure.empty()) {
      out += fmt::format("  {}\n    {}\n", plan.failure, describe(plan.deployment));
      continue;
    }
    const ServiceSummary& s = plan.summary;
    out += latencies(s.ttft) + latencies(s.tpot);
    out += fmt::format("{:>10.1f}", plan.rate_per_gpu(false));
    if (goodput) out += fmt::format("{:>10.3g}", s.goodput_per_s);
    const std::string verdict_text = verdict(plan);
    if (!verdict_text.empty()) out += "  " + verdict_text;
    if (s.rejected > 0) out += fmt::format("  ({} rejected)", s.rejected);
    out += fmt::format("\n    {}\n", describe(plan.deployment));
  }
  return out;
}

}  // namespace

Result<PlanQuestion> plan_question(const PlanQuestionOptions& options) {
  PF_ASSIGN(const Targets targets, parse_targets(options.request.target));
  if (simulates(options, targets)) return simulated_question(options, targets);
  PlanVerbOptions asked = options.request;
  asked.rate = options.arrivals.rate;
  PF_TRY(set_length(options.arrivals.isl, "--isl", asked.isl));
  PF_TRY(set_length(options.arrivals.osl, "--osl", asked.osl));
  PlanQuestion out;
  PF_ASSIGN(out.request, plan_request(asked));
  return out;
}

std::string round_change(const SimulatedRound& simulated) {
  const std::vector<SimulatedPlan>& plans = simulated.found.plans;
  if (plans.empty()) return "no plan to simulate";
  const SimulatedPlan& best = plans.front();
  const auto first = std::ranges::find(plans, 1, &SimulatedPlan::place);
  if (!best.met()) {
    return fmt::format("none of {} simulated plans holds all limits", plans.size());
  }
  if (best.place == 1) {
    return fmt::format("the closed form's best of {} is the simulation's too", plans.size());
  }
  const std::string why = !first->failure.empty() ? "it cannot serve: " + first->failure
                          : first->met()          ? "it serves no more, with less room"
                                                  : "it " + verdict(*first);
  return fmt::format("the closed form's number {} replaces its best: {}", best.place, why);
}

std::string format_round(const PlanAnswer& answer) {
  if (answer.simulated == nullptr || answer.simulated->found.plans.empty()) return "";
  const SimulatedRound& simulated = *answer.simulated;
  std::string out =
      fmt::format("\nsimulated over {}", describe(simulated.round.trace, simulated.left_out));
  out += fmt::format("what it changed: {}\n", round_change(simulated));
  if (simulated.found.lifted) {
    out +=
        "no plan's mean latencies hold the limits on percentiles when it is full; these are the "
        "best without them\n";
  }
  out += "\n" + round_table(simulated, simulated.round.slo.any());
  if (!answer.result.winner) {
    for (const std::string& sentence : why_none_serves(simulated.found)) out += sentence + "\n";
  }
  return out;
}

}  // namespace pentafold
