#include "planner/problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace pentafold {

const char* to_string(Limit limit) {
  switch (limit) {
    case Limit::Memory:
      return "memory";
    case Limit::Gpus:
      return "number of GPUs";
    case Limit::Ttft:
      return "TTFT";
    case Limit::Tpot:
      return "TPOT";
    case Limit::TokensPerGpu:
      return "tokens/s per GPU";
    case Limit::PrefillTokensPerGpu:
      return "prompt tokens/s per GPU";
    case Limit::Tokens:
      return "tokens/s";
    case Limit::Rate:
      return "requests/s";
    case Limit::Cost:
      return "cost per million tokens";
    case Limit::None:
      return "none";
  }
  return "?";
}

double Miss::ratio() const {
  const bool upper = limit == Limit::Memory || limit == Limit::Ttft || limit == Limit::Tpot ||
                     limit == Limit::Cost || limit == Limit::Gpus;
  return upper ? reached / bound : bound / reached;
}

bool Miss::nearer_than(const Miss& other) const {
  if (limit != other.limit) return limit > other.limit;
  return ratio() < other.ratio();
}

double Score::dollars_per_mtok(const GpuSpec& gpu) const {
  return gpu.dollars_per_hour / 3600 / tokens_per_s_per_gpu() * 1e6;
}

std::string describe(const Deployment& deployment) {
  std::string out;
  for (const Pool& pool : deployment.pools) {
    out +=
        fmt::format("{}{} x ({}){}", out.empty() ? "" : " + ", pool.replicas, describe(pool.worker),
                    pool.role == Role::Both ? "" : fmt::format(" {}", to_string(pool.role)));
  }
  return out;
}

std::optional<Miss> first_miss(const Problem& problem, const Score& score, double memory_bytes) {
  const Targets& t = problem.targets;
  if (memory_bytes > problem.memory_limit()) {
    return Miss{Limit::Memory, memory_bytes, problem.memory_limit()};
  }
  const auto at_most = [](Limit limit, double reached,
                          std::optional<double> bound) -> std::optional<Miss> {
    if (bound && reached > *bound) return Miss{limit, reached, *bound};
    return std::nullopt;
  };
  const auto at_least = [](Limit limit, double reached,
                           std::optional<double> bound) -> std::optional<Miss> {
    if (bound && reached < *bound) return Miss{limit, reached, *bound};
    return std::nullopt;
  };
  if (score.gpus > problem.gpu_limit()) {
    return Miss{Limit::Gpus, static_cast<double>(score.gpus),
                static_cast<double>(problem.gpu_limit())};
  }
  if (auto miss = at_most(Limit::Ttft, score.ttft_s, t.ttft_s)) return miss;
  if (auto miss = at_most(Limit::Tpot, score.tpot_s, t.tpot_s)) return miss;
  if (auto miss =
          at_least(Limit::TokensPerGpu, score.tokens_per_s_per_gpu(), t.tokens_per_s_per_gpu)) {
    return miss;
  }
  if (auto miss = at_least(Limit::PrefillTokensPerGpu, score.prefill_tokens_per_s_per_gpu,
                           t.prefill_tokens_per_s_per_gpu)) {
    return miss;
  }
  if (auto miss = at_least(Limit::Tokens, score.tokens_per_s, t.tokens_per_s)) return miss;
  if (auto miss = at_least(Limit::Rate, score.requests_per_s, problem.workload.rate_per_s)) {
    return miss;
  }
  if (t.dollars_per_mtok) {
    return at_most(Limit::Cost, score.dollars_per_mtok(problem.cluster.gpu), t.dollars_per_mtok);
  }
  return std::nullopt;
}

double compare(const Problem& problem, const Score& a, const Score& b) {
  // Ties on the objective itself go to the higher throughput, then to fewer GPUs.
  const double rate = a.tokens_per_s_per_gpu() - b.tokens_per_s_per_gpu();
  const double prefill = a.prefill_tokens_per_s_per_gpu - b.prefill_tokens_per_s_per_gpu;
  const double throughput = rate != 0 ? rate : prefill;
  const auto gpus = static_cast<double>(b.gpus - a.gpus);
  switch (problem.targets.objective) {
    case Objective::TokensPerSecondPerGpu:
    case Objective::Cost:
      return throughput != 0 ? throughput : gpus;
    case Objective::Gpus:
      return gpus != 0 ? gpus : throughput;
    case Objective::Ttft:
      return a.ttft_s != b.ttft_s ? b.ttft_s - a.ttft_s : throughput;
    case Objective::Tpot:
      return a.tpot_s != b.tpot_s ? b.tpot_s - a.tpot_s : throughput;
  }
  return 0;
}

bool simpler(const Worker& a, const Worker& b) {
  const auto key = [](const Worker& w) {
    return std::make_tuple(w.gpus(), w.pp(), w.sp, w.etp, w.tp, w.ep, w.redundant, w.microbatches,
                           w.chunk, w.batch, w.stage_layers);
  };
  return key(a) < key(b);
}

double served_tokens_per_s(const Problem& problem, double requests_per_s) {
  const double served = std::min(requests_per_s, problem.workload.rate_per_s.value_or(1e30));
  return served * static_cast<double>(problem.workload.osl);
}

std::optional<Score> pool_score(const Problem& problem, const Worker& worker, const Rates& rates,
                                std::int64_t* replicas) {
  const std::int64_t size = worker.gpus();
  const bool fixed = problem.cluster.gpus > 0;
  const bool fewest = !fixed || problem.targets.objective == Objective::Gpus;
  const std::int64_t most = problem.gpu_limit() / size;
  if (most < 1) return std::nullopt;
  // Each worker may be so busy that the queue's wait still leaves the TTFT within its limit.
  const double rate = problem.workload.rate_per_s.value_or(0);
  const double room = problem.targets.ttft_s.value_or(1e30) - rates.ttft_s;
  const double load = rates.service_s > 0 ? load_for_wait(room, rates.service_s) : 1;
  std::int64_t count = most;
  if (fewest) {
    double needed = 1;
    const auto demand = [&](double wanted, double each) {
      if (wanted > 0 && each > 0) needed = std::max(needed, std::ceil(wanted / each));
    };
    demand(problem.targets.tokens_per_s.value_or(0), rates.tokens_per_s);
    demand(rate, rates.requests_per_s * std::min(load, kHighestLoad));
    demand(static_cast<double>(problem.workload.batch.value_or(0)),
           static_cast<double>(worker.batch * worker.dp));
    count = static_cast<std::int64_t>(std::min(needed, static_cast<double>(most)));
  }
  *replicas = count;
  const auto n = static_cast<double>(count);
  // A batch smaller than the slots leaves some of them empty.
  double filled = 1;
  if (problem.workload.batch) {
    filled = std::min(1.0, static_cast<double>(*problem.workload.batch) /
                               (n * static_cast<double>(worker.batch * worker.dp)));
  }
  Score score;
  score.ttft_s = rates.ttft_s;
  if (rate > 0) {
    score.ttft_s += queue_wait_seconds(rate / (n * rates.requests_per_s), rates.service_s);
  }
  score.tpot_s = rates.tpot_s;
  score.tokens_per_s = rates.tokens_per_s * n * filled;
  score.requests_per_s = rates.requests_per_s * n * filled;
  if (rate > 0) score.tokens_per_s = served_tokens_per_s(problem, score.requests_per_s);
  score.gpus = count * size;
  score.provisioned = fixed && !fewest ? problem.cluster.gpus : score.gpus;
  score.prefill_tokens_per_s_per_gpu =
      rates.prefill_tokens_per_s * n / static_cast<double>(score.provisioned);
  return score;
}

}  // namespace pentafold
