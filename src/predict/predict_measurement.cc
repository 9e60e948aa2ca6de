#include "predict/predict_measurement.h"

#include <algorithm>
#include <cmath>

#include "plan/worker.h"
#include "predict/served_pool.h"
#include "spec/arrivals.h"

namespace pentafold {
namespace {

// Requests of a run whose number is not published: enough for a steady state.
constexpr std::int64_t kRoundsOfLoop = 10;
constexpr std::int64_t kQueuedRequests = 2000;
constexpr std::int64_t kMostRequests = 6000;
// What a TTFT has beside the errors of steps, in ln.
constexpr double kQueueError = 0.4;
constexpr double kUsedMemory = 0.92;
constexpr double kMostMemory = 0.99;

std::int64_t request_count(const Measurement& m) {
  if (m.load == LoadKind::StaticBatch) return m.concurrency;
  if (m.load == LoadKind::AllQueued) {
    return m.requests > 0 ? std::min(m.requests, kMostRequests) : kQueuedRequests;
  }
  const std::int64_t asked = m.requests > 0 ? m.requests : kRoundsOfLoop * m.concurrency;
  return std::max(std::min(asked, kMostRequests), 2 * m.concurrency);
}

TokenRange tokens(const LengthRange& range) {
  const auto whole = [](double x) {
    return std::max<std::int64_t>(static_cast<std::int64_t>(std::llround(x)), 1);
  };
  return {whole(range.low), whole(range.high)};
}

Result<Trace> trace_of(const Measurement& m) {
  ArrivalSpec spec;
  spec.process = ArrivalProcess::Closed;
  spec.requests = request_count(m);
  spec.concurrency = m.load == LoadKind::ClosedLoop ? m.concurrency : spec.requests;
  spec.prompt = tokens(m.input);
  spec.output = tokens(m.output);
  return generate_trace(spec);
}

Workload workload_of(const Measurement& m) {
  Workload workload;
  workload.isl = std::max<std::int64_t>(std::llround(m.input.mean()), 1);
  workload.osl = std::max<std::int64_t>(std::llround(m.output.mean()), 1);
  return workload;
}

// All sequences at the middle of their answers, as many as the pool would hold.
double relative_error(const StepCost& costs, const Worker& worker, std::int64_t sequences) {
  StepLoad load;
  for (std::int64_t g = 0; g < worker.dp; ++g) {
    GroupLoad group;
    group.decodes = std::max<std::int64_t>(sequences / worker.dp, 1);
    group.decode_context =
        static_cast<double>(group.decodes) *
        (static_cast<double>(costs.workload().isl) + static_cast<double>(costs.workload().osl) / 2);
    load.groups.push_back(group);
  }
  const Cost cost = StepPricer(costs, worker).cost(load);
  return cost.seconds > 0 ? cost.error_s / cost.seconds : 0;
}

Interval around(double value, double log_error) {
  return {value, value * std::exp(-log_error), value * std::exp(log_error)};
}

std::array<Interval, 4> bars(const Distribution& d, double log_error) {
  return {around(d.mean, log_error), around(d.p50, log_error), around(d.p90, log_error),
          around(d.p99, log_error)};
}

}  // namespace

Interval PredictedMetrics::of(const Metric& metric, std::int64_t gpus) const {
  const auto statistic = static_cast<std::size_t>(metric.statistic);
  const double share = metric.per_gpu ? 1 / static_cast<double>(gpus) : 1;
  switch (metric.quantity) {
    case Quantity::Ttft:
      return ttft_s[statistic];
    case Quantity::Tpot:
      return tpot_s[statistic];
    case Quantity::E2e:
      return e2e_s[statistic];
    case Quantity::OutputTokens:
      return requests_per_s * (output_tokens * share);
    case Quantity::InputTokens:
      return requests_per_s * (input_tokens * share);
    case Quantity::TotalTokens:
      return requests_per_s * ((input_tokens + output_tokens) * share);
    case Quantity::Requests:
      return requests_per_s * share;
  }
  return {};
}

Result<PredictedMetrics> predict_measurement(const Measurement& m) {
  PF_ASSIGN(const EngineProfile engine, find_engine(engine_then(m), m.gpu_name));
  return predict_measurement_as(m, engine);
}

Result<PredictedMetrics> predict_measurement_as(const Measurement& m, const EngineProfile& engine) {
  const Workload workload = workload_of(m);
  const StepCost costs(*m.model, *m.cluster, engine, workload);
  Service service;
  for (const MeasuredPool& pool : m.pools) {
    if (const auto failure = folding_failure(*m.model, pool.worker)) {
      return make_error(ErrorCode::InfeasiblePlan, *failure);
    }
    auto found = served_pool(costs, {pool.worker, pool.replicas, pool.role, kUsedMemory});
    // It was measured, so it fits: recipes of tight layouts hand engines more.
    if (!found.ok()) {
      found = served_pool(costs, {pool.worker, pool.replicas, pool.role, kMostMemory});
    }
    PF_ASSIGN(ReplicaPool served, std::move(found));
    if (pool.role == Role::Decode) {
      service.decode = std::move(served);
    } else {
      service.serving = std::move(served);
    }
  }
  if (m.split()) {
    const double per_token = kv_transfer_seconds(costs, m.pools.front().worker) /
                             static_cast<double>(std::max<std::int64_t>(workload.isl, 1));
    service.transfer_s = [per_token](std::int64_t tokens) {
      return per_token * static_cast<double>(tokens);
    };
  }
  PF_ASSIGN(const Trace trace, trace_of(m));
  const Simulation simulation = simulate(trace, service);
  if (simulation.summary.finished == 0) {
    return make_error(ErrorCode::InfeasiblePlan, "no request fits the KV blocks of a dp group");
  }
  const MeasuredPool& decodes = m.pools.back();
  const double log_error = relative_error(
      costs, decodes.worker, std::max<std::int64_t>(m.concurrency / decodes.replicas, 1));
  const ServiceSummary& summary = simulation.summary;
  PredictedMetrics out;
  out.ttft_s = bars(summary.ttft, log_error + kQueueError);
  out.tpot_s = bars(summary.tpot, log_error);
  out.e2e_s = bars(summary.e2e, log_error);
  out.requests_per_s = around(summary.requests_per_s, log_error);
  const auto finished = static_cast<double>(summary.finished);
  const double seconds = finished / summary.requests_per_s;
  out.output_tokens = summary.output_tokens_per_s * seconds / finished;
  out.input_tokens =
      (summary.total_tokens_per_s - summary.output_tokens_per_s) * seconds / finished;
  return out;
}

}  // namespace pentafold
