#include "predict/run_prediction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"
#include "plan/lower.h"
#include "predict/step_layout.h"

namespace pentafold {
namespace {

// One replica on its way through its requests.
struct ReplicaRun {
  explicit ReplicaRun(const SchedulerLimits& limits) : scheduler(limits) {}
  Scheduler scheduler;
  std::map<RequestId, RequestReport> requests;
  std::vector<StepReport> steps;
  std::optional<StepBatch> batch;  // the one at hand
};

void finish_step(ReplicaRun& replica, double seconds, double now) {
  const StepBatch& batch = *replica.batch;
  replica.steps.push_back({batch.phase == Phase::Prefill ? StepKind::Prefill : StepKind::Decode,
                           std::ssize(batch.segments), batch.tokens, batch.context(), seconds});
  for (const Segment& segment : replica.batch->segments) {
    if (!segment.samples) continue;
    RequestReport& request = replica.requests.at(segment.request);
    request.last_s = now;
    if (request.tokens.empty()) request.ttft_s = now;
    constexpr std::int32_t kSomeToken = 0;
    request.tokens.push_back(kSomeToken);
    replica.scheduler.accept(segment.request, kSomeToken);
  }
  replica.batch.reset();
}

Report make_report(const RunToPredict& run, const std::vector<ReplicaRun>& replicas) {
  Report report;
  report.plan = describe(run.plan);
  report.ranks = run.plan.world();
  for (const ReplicaRun& replica : replicas) {
    report.step_reports.insert(report.step_reports.end(), replica.steps.begin(),
                               replica.steps.end());
    for (const auto& [id, request] : replica.requests) report.requests.push_back(request);
  }
  report.steps = std::ssize(report.step_reports);
  std::ranges::sort(report.requests, {}, &RequestReport::id);
  return report;
}

}  // namespace

Result<Report> predict_run(const RunToPredict& run, std::vector<Request> requests) {
  for (const auto& format : {run.plan.weights.experts, run.plan.weights.linear}) {
    if (!format || !is_integer(*format)) continue;
    return make_error(ErrorCode::Unsupported,
                      fmt::format("a machine's file has the speed of products of floating-point "
                                  "weights, so a run with weights in {} is not predicted; measure "
                                  "it, or predict the plan with weights: bf16",
                                  to_string(*format)),
                      run.plan.file);
  }
  PF_ASSIGN(const auto lowering, LoweringContext::make(run.plan, run.model));
  StepLayout layout(run, lowering);
  std::vector<ReplicaRun> replicas;
  for (std::int64_t r = 0; r < run.plan.replicas; ++r) replicas.emplace_back(run.limits);
  for (Request& request : requests) {
    request.stop_ids.clear();
    ReplicaRun& replica =
        replicas[request.id.index() % static_cast<std::size_t>(run.plan.replicas)];
    RequestReport report;
    report.id = request.id.value;
    report.prompt_tokens = std::ssize(request.prompt);
    replica.requests.emplace(request.id, std::move(report));
    PF_TRY(replica.scheduler.add(std::move(request)));
  }
  OperatorTimes operators;
  double now = 0;
  const auto busy = [](const ReplicaRun& replica) { return !replica.scheduler.done(); };
  while (std::ranges::any_of(replicas, busy)) {
    // Replicas do not wait for each other, but they share the cores.
    ThreadPlan threads;
    threads.cores = run.machine.cores;
    threads.actions.resize(static_cast<std::size_t>(run.plan.world()));
    for (std::size_t r = 0; r < replicas.size(); ++r) {
      if (!busy(replicas[r])) continue;
      replicas[r].batch = replicas[r].scheduler.next();
      layout.add(static_cast<std::int64_t>(r), *replicas[r].batch, threads, operators);
    }
    const double seconds = run.machine.step.call_s + seconds_on_cores(threads);
    CHECK(std::isfinite(seconds), "a program that verify admits ends");
    now += seconds;
    for (ReplicaRun& replica : replicas) {
      if (replica.batch) finish_step(replica, seconds, now);
    }
  }
  Report report = make_report(run, replicas);
  report.run_s = now;
  report.operators = std::move(operators);
  return report;
}

}  // namespace pentafold
