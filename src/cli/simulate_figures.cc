#include "cli/simulate_figures.h"

#include <algorithm>
#include <array>
#include <utility>

namespace pentafold {
namespace {

// Means over equal numbers of buckets.
Series thinned(const Series& curve, std::size_t most) {
  const std::size_t each = (curve.size() + most - 1) / most;
  Series out;
  for (std::size_t i = 0; i < curve.size(); i += each) {
    const std::size_t end = std::min(i + each, curve.size());
    double sum = 0;
    for (std::size_t k = i; k < end; ++k) sum += curve[k];
    out.push_back(sum / static_cast<double>(end - i));
  }
  return out;
}

}  // namespace

PoolCurves curves_of(const PoolUse& use, std::size_t most) {
  PoolCurves out;
  const auto blocks = static_cast<double>(std::max<std::int64_t>(use.blocks, 1));
  const auto replicas = static_cast<double>(std::max<std::int64_t>(use.replicas, 1));
  for (const LoadLevel& level : use.series.means()) {
    out.queue.push_back(level.waiting);
    out.running.push_back(level.running);
    out.kv.push_back(level.kv_blocks / blocks);
    out.busy.push_back(level.busy / replicas);
  }
  const std::size_t each = std::max<std::size_t>((out.queue.size() + most - 1) / most, 1);
  out.bucket_s = use.series.bucket_s() * static_cast<double>(each);
  for (Series* curve : {&out.queue, &out.running, &out.kv, &out.busy}) {
    *curve = thinned(*curve, most);
  }
  return out;
}

std::vector<NamedDistribution> distributions(const ServiceSummary& s) {
  return {{"TTFT", "ttft_s", s.ttft},
          {"TPOT", "tpot_s", s.tpot},
          {"ITL", "itl_s", s.itl},
          {"E2E", "e2e_s", s.e2e},
          {"queue", "queue_s", s.queue}};
}

std::vector<MeasuredMetric> measured_metrics(const SimulationAnswer& answer) {
  const Trace& trace = answer.asked.arriving.trace;
  std::array<std::vector<double>, 3> measured;
  std::array<std::vector<double>, 3> simulated;
  for (std::size_t i = 0; i < trace.measured.size(); ++i) {
    const MeasuredTimes& times = trace.measured[i];
    const RequestOutcome& outcome = answer.found.requests[i];
    if (!times.known || outcome.rejected) continue;
    measured[0].push_back(times.ttft_s);
    simulated[0].push_back(outcome.ttft());
    measured[1].push_back(times.last_s);
    simulated[1].push_back(outcome.e2e());
    if (outcome.output < 2) continue;
    measured[2].push_back((times.last_s - times.ttft_s) / (outcome.output - 1));
    simulated[2].push_back(outcome.tpot());
  }
  constexpr std::array<std::pair<const char*, const char*>, 3> kNames = {
      {{"TTFT", "ttft_s"}, {"E2E", "e2e_s"}, {"TPOT", "tpot_s"}}};
  std::vector<MeasuredMetric> out;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (measured[i].empty()) continue;
    out.push_back({kNames[i].first, kNames[i].second, distribution_of(measured[i]),
                   distribution_of(simulated[i])});
  }
  return out;
}

double error_of(double simulated, double measured) {
  return measured > 0 ? simulated / measured - 1 : 0;
}

}  // namespace pentafold
