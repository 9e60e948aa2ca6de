#include "execute/bench.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"
#include "base/split.h"
#include "report/percentiles.h"
#include "spec/model_shape.h"

namespace pentafold {
namespace {

// Rows of one step while the contexts of many sequences are computed, which is not timed.
constexpr std::int64_t kUntimedRows = 4096;

std::int64_t groups_apart(const Plan& plan) {
  return schedule_groups(plan) * plan.replicas;
}

// What the scheduler may do: all sequences of a job together.
SchedulerLimits limits_for(const BenchJob& job, SchedulerLimits limits) {
  if (job.kind == StepKind::Prefill) return limits;
  limits.max_batch = std::max(limits.max_batch, job.size);
  limits.prefill_chunk = std::clamp<std::int64_t>(kUntimedRows / job.size, 1, limits.prefill_chunk);
  return limits;
}

// Of its steps of that kind: for prefill from the first schedule to the last answer.
std::vector<double> seconds_of(const BenchJob& job, const Report& report) {
  std::vector<double> out;
  if (job.kind == StepKind::Prefill) {
    double last = 0;
    for (const RequestReport& request : report.requests) last = std::max(last, request.ttft_s);
    out.push_back(last);
    return out;
  }
  for (const StepReport& step : report.step_reports) {
    if (step.kind == job.kind) out.push_back(step.seconds);
  }
  return out;
}

}  // namespace

std::vector<Request> job_requests(const BenchJob& job, const Plan& plan, std::int64_t vocab) {
  const bool prefill = job.kind == StepKind::Prefill;
  const std::int64_t count = prefill ? std::min(groups_apart(plan), job.size) : job.size;
  std::vector<Request> out;
  for (std::int64_t r = 0; r < count; ++r) {
    Request& request = out.emplace_back();
    request.id = RequestId(r);
    request.max_tokens = prefill ? 1 : job.steps + 1;
    const std::int64_t tokens = prefill ? split(job.size, count, r).size() : job.context;
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::uint64_t draw =
          mix64(mix64(static_cast<std::uint64_t>(r)) + static_cast<std::uint64_t>(t));
      request.prompt.push_back(static_cast<std::int32_t>(draw % static_cast<std::uint64_t>(vocab)));
    }
  }
  return out;
}

double job_flop(const BenchJob& job, const Plan& plan, const ModelSpec& model) {
  const ModelShape shape = shape_of(model);
  const double head = 2.0 * static_cast<double>(model.d) * static_cast<double>(model.vocab);
  const double weights = weight_flops_per_token(shape) - head;
  const bool prefill = job.kind == StepKind::Prefill;
  double flop = 0;
  for (const Request& request : job_requests(job, plan, model.vocab)) {
    const std::int64_t prompt = std::ssize(request.prompt);
    const Range positions = prefill ? Range{0, prompt} : Range{prompt, prompt + job.steps};
    for (std::int64_t p = positions.begin; p < positions.end; ++p) {
      flop += weights + attention_flops(shape, p + 1, prefill);
    }
    flop += head * static_cast<double>(prefill ? 1 : job.steps);
  }
  return flop;
}

Result<BenchContender> BenchContender::start(const Plan& plan, const ModelSpec& model,
                                             WeightSource source, const EngineOptions& options,
                                             const std::vector<BenchJob>& jobs) {
  BenchContender out;
  out.plan_ = plan;
  out.model_ = model;
  EngineOptions engine = options;
  engine.time_operators = true;
  for (const BenchJob& job : jobs) {
    const auto requests = job_requests(job, plan, model.vocab);
    engine.blocks_per_group = std::max(engine.blocks_per_group, blocks_needed(plan, requests));
    for (const Request& request : requests) {
      engine.max_positions =
          std::max(engine.max_positions, std::ssize(request.prompt) + request.max_tokens);
    }
  }
  if (engine.threads_per_rank == 0) engine.threads_per_rank = threads_for(plan.world());
  out.limits_ = scheduler_limits(plan, engine.blocks_per_group);
  for (const BenchJob& job : jobs) {
    BenchRow& row = out.rows_.emplace_back();
    row.plan = describe(plan);
    if (plan.weights.experts) row.plan += fmt::format(" {}", to_string(*plan.weights.experts));
    if (plan.kv) row.plan += fmt::format(" kv {}", to_string(*plan.kv));
    row.ranks = plan.world();
    row.threads_per_rank = engine.threads_per_rank;
    row.job = job;
    row.flop = job_flop(job, plan, model);
    row.tokens = static_cast<double>(job.size);
    if (job.kind == StepKind::Decode) row.flop /= static_cast<double>(job.steps);
  }
  PF_ASSIGN(out.engine_, Engine::start(plan, model, std::move(source), engine));
  return out;
}

Status BenchContender::run(std::size_t job, bool counted) {
  BenchRow& row = rows_[job];
  engine_->set_limits(limits_for(row.job, limits_));
  PF_ASSIGN(const Report report,
            engine_->generate(job_requests(row.job, plan_, model_.vocab), {}, {}));
  if (!counted) return ok_status();
  const std::vector<double> seconds = seconds_of(row.job, report);
  row.samples.insert(row.samples.end(), seconds.begin(), seconds.end());
  double bytes = 0;
  for (const auto& [name, time] : report.operators[static_cast<std::size_t>(row.job.kind)]) {
    OperatorReport& sum = row.operators[name];
    sum.calls += time.calls;
    sum.seconds += time.seconds;
    sum.flop += time.flop;
    sum.bytes += time.bytes;
    bytes += time.bytes;
  }
  if (row.job.kind == StepKind::Decode) bytes /= static_cast<double>(row.job.steps);
  row.bytes = bytes;  // the same in every round: requests, routing and cache are
  return ok_status();
}

std::vector<BenchRow> BenchContender::rows() const {
  std::vector<BenchRow> out = rows_;
  for (BenchRow& row : out) row.seconds = distribution_of(row.samples).p50;
  return out;
}

}  // namespace pentafold
