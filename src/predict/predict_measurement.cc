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
        static_cast<double>(group.decodes * (costs.workload().isl + costs.workload().osl / 2));
    load.groups.push_back(group);
  }
  const Cost cost = StepPricer(costs, worker).cost(load);
  return cost.seconds > 0 ? cost.error_s / cost.seconds : 0;
}

Interval around(double value, double log_error) {
  return {value, value * std::exp(-log_error), value * std::exp(log_error)};
}

double statistic(const Distribution& d, Statistic which) {
  switch (which) {
    case Statistic::Mean:
      return d.mean;
    case Statistic::Median:
      return d.p50;
    case Statistic::P90:
      return d.p90;
    case Statistic::P99:
      return d.p99;
  }
  return 0;
}

}  // namespace

std::optional<Interval> PredictedRun::metric(const Metric& wanted) const {
  const double per = wanted.per_gpu ? static_cast<double>(summary.gpus) : 1;
  switch (wanted.quantity) {
    case Quantity::Ttft:
      return around(statistic(summary.ttft, wanted.statistic), time_log_error + queue_log_error);
    case Quantity::Tpot:
      if (summary.tpot.n == 0) return std::nullopt;
      return around(statistic(summary.tpot, wanted.statistic), time_log_error);
    case Quantity::E2e:
      return around(statistic(summary.e2e, wanted.statistic), time_log_error);
    case Quantity::OutputTokens:
      return around(summary.output_tokens_per_s / per, time_log_error);
    case Quantity::InputTokens:
      return around(input_tokens_per_s / per, time_log_error);
    case Quantity::TotalTokens:
      return around(summary.total_tokens_per_s / per, time_log_error);
    case Quantity::Requests:
      return around(summary.requests_per_s / per, time_log_error);
  }
  return std::nullopt;
}

Result<PredictedRun> predict_measurement(const Measurement& m, const EngineProfile* engine) {
  EngineProfile profile;
  if (engine != nullptr) {
    profile = *engine;
  } else {
    PF_ASSIGN(profile, find_engine(m.engine, m.gpu_name));
  }
  const Workload workload = workload_of(m);
  const StepCost costs(*m.model, *m.cluster, profile, workload);
  Service service;
  for (const MeasuredPool& pool : m.pools) {
    if (const auto failure = folding_failure(*m.model, pool.worker)) {
      return make_error(ErrorCode::InfeasiblePlan, *failure);
    }
    PF_ASSIGN(ReplicaPool served,
              served_pool(costs, {pool.worker, pool.replicas, pool.role, 0.92}));
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
  PredictedRun out;
  out.summary = simulation.summary;
  out.summary.gpus = m.gpus;
  out.input_tokens_per_s =
      simulation.summary.total_tokens_per_s - simulation.summary.output_tokens_per_s;
  const MeasuredPool& decodes = m.pools.back();
  out.time_log_error = relative_error(costs, decodes.worker,
                                      std::max<std::int64_t>(m.concurrency / decodes.replicas, 1));
  return out;
}

}  // namespace pentafold
