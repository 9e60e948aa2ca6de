#include "predict/predict_measurement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pentafold {
namespace {

constexpr double kUsableMemory = 0.9;
constexpr std::int64_t kStepTokens = 8192;    // rows of a step that computes prompts
constexpr std::int64_t kMaxSequences = 2048;  // in flight in a dp group
// Until operators carry intervals of their own, all bars are alike.
constexpr double kBar = 1.4;

Interval around(double value) {
  return {value, value / kBar, value * kBar};
}

std::array<Interval, 4> alike(double value) {
  std::array<Interval, 4> out;
  out.fill(around(value));
  return out;
}

// Prices the workers of one measurement.
class Pricer {
 public:
  explicit Pricer(const Measurement& m)
      : m_(m),
        workload_{.isl = rounded(m.input.mean()),
                  .osl = rounded(m.output.mean()),
                  .batch = {},
                  .rate_per_s = {},
                  .skew = 0},
        costs_(*m.model, *m.cluster, constants_, workload_) {}

  const Workload& workload() const { return workload_; }

  WorkerPrediction price(const MeasuredPool& pool, std::int64_t batch) const {
    Worker worker = pool.worker;
    worker.batch = std::max<std::int64_t>(batch, 1);
    worker.chunk = kStepTokens;
    worker.microbatches = std::min(worker.pp(), worker.batch);
    return predict_worker(costs_, worker, pool.role);
  }
  // Sequences in flight in a dp group of each worker, of `concurrency` in all; no more than fit.
  std::int64_t batch_of(const MeasuredPool& pool, std::int64_t concurrency) const {
    const std::int64_t groups = pool.replicas * pool.worker.dp;
    const std::int64_t wanted =
        concurrency == 0 ? kMaxSequences : (concurrency + groups - 1) / groups;
    return std::min({wanted, kMaxSequences, largest_batch(pool)});
  }

 private:
  static std::int64_t rounded(double tokens) {
    return std::max<std::int64_t>(std::llround(tokens), 1);
  }
  bool fits(const MeasuredPool& pool, std::int64_t batch) const {
    return price(pool, batch).memory.total() <= kUsableMemory * m_.cluster->gpu.memory_bytes;
  }
  // 1 where not even that fits: it was measured, so our count of bytes is too high.
  std::int64_t largest_batch(const MeasuredPool& pool) const {
    std::int64_t low = 1;
    std::int64_t high = kMaxSequences + 1;
    while (high - low > 1) {
      const std::int64_t middle = low + (high - low) / 2;
      (fits(pool, middle) ? low : high) = middle;
    }
    return low;
  }

  const Measurement& m_;
  CostConstants constants_;
  Workload workload_;
  StepCost costs_;
};

struct Steady {
  double ttft_s = 0;
  double tpot_s = 0;
  double requests_per_s = 0;
};

// Requests that are not in flight wait: Little's law for those beyond the batch.
Steady aggregated(const Pricer& pricer, const Measurement& m) {
  const MeasuredPool& pool = m.pools.front();
  const std::int64_t batch = pricer.batch_of(pool, m.concurrency);
  const Rates rates = pricer.price(pool, batch).rates;
  Steady out{rates.ttft_s, rates.tpot_s, rates.requests_per_s * static_cast<double>(pool.replicas)};
  const std::int64_t running = batch * pool.worker.dp * pool.replicas;
  const std::int64_t waiting = std::max<std::int64_t>(m.concurrency - running, 0);
  out.ttft_s += static_cast<double>(waiting) / out.requests_per_s;
  return out;
}

// The decode workers hold what the prefill workers let through; the rest of the loop waits.
Steady split(const Pricer& pricer, const Measurement& m) {
  const Rates prefill = pricer.price(m.pools[0], 1).rates;
  const double most = prefill.requests_per_s * static_cast<double>(m.pools[0].replicas);
  const auto steps = static_cast<double>(std::max<std::int64_t>(pricer.workload().osl - 1, 1));
  const double in_loop = m.concurrency > 0 ? static_cast<double>(m.concurrency) : 1e9;
  double decoding = in_loop;
  Steady out;
  constexpr int kRounds = 20;
  for (int i = 0; i < kRounds; ++i) {
    const std::int64_t batch = pricer.batch_of(
        m.pools[1], std::max<std::int64_t>(1, std::llround(std::min(decoding, 1e9))));
    out.tpot_s = pricer.price(m.pools[1], batch).rates.tpot_s;
    const auto room = static_cast<double>(batch * m.pools[1].worker.dp * m.pools[1].replicas);
    const double rate = std::min(room, decoding) / (steps * out.tpot_s);
    out.requests_per_s = std::min(rate, most);
    out.ttft_s = std::max(prefill.ttft_s, in_loop / out.requests_per_s - steps * out.tpot_s);
    decoding = 0.5 * (decoding + std::min(in_loop, out.requests_per_s * steps * out.tpot_s));
  }
  out.requests_per_s = std::min(out.requests_per_s, in_loop / (out.ttft_s + steps * out.tpot_s));
  return out;
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
  const Pricer pricer(m);
  Steady steady = m.split() ? split(pricer, m) : aggregated(pricer, m);
  const double steps = std::max(m.output.mean() - 1, 0.0);
  const double e2e = steady.ttft_s + steps * steady.tpot_s;
  // Alone in a batch that nobody joins, a request takes its own time and no more.
  if (m.load == LoadKind::StaticBatch) {
    steady.requests_per_s = static_cast<double>(m.concurrency) / e2e;
  }
  const bool usable = std::isfinite(e2e) && e2e > 0 && std::isfinite(steady.requests_per_s) &&
                      steady.requests_per_s > 0;
  if (!usable) {
    return make_error(ErrorCode::InfeasiblePlan,
                      fmt::format("{} cannot be priced on {}", layout(m), m.gpu_name));
  }
  PredictedMetrics out;
  out.ttft_s = alike(steady.ttft_s);
  out.tpot_s = alike(steady.tpot_s);
  out.e2e_s = alike(e2e);
  out.requests_per_s = around(steady.requests_per_s);
  out.input_tokens = m.input.mean();
  out.output_tokens = m.output.mean();
  return out;
}

}  // namespace pentafold
