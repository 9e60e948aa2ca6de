#include "planner/undecided.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pentafold {
namespace {

enum class Phase : std::int64_t { Prefill, Decode };
enum class Part : std::int64_t { Layer, Experts, Logits, HandOver };

// How often a step's and a pass's seconds are in the quantity that the objective counts.
struct Weights {
  double step = 0;
  double pass = 0;
};

Weights weights_of(const Problem& problem, const Pool& pool, const WorkerPrediction& p) {
  const Worker& w = pool.worker;
  const auto steps = static_cast<double>(std::max<std::int64_t>(problem.workload.osl - 1, 0));
  const auto batch = static_cast<double>(w.batch);
  const auto prompts = static_cast<double>(p.timing.prompts);
  const double passes = std::max(batch / prompts, 1.0);
  const bool decodes = pool.role != Role::Prefill && steps > 0;
  if (problem.targets.objective == Objective::Ttft) {
    return {0, pool.role == Role::Decode ? 0.0 : 1.0};
  }
  if (problem.targets.objective == Objective::Tpot) {
    return {decodes ? 1.0 : 0.0, pool.role == Role::Both && decodes ? (passes - 1) / steps : 0.0};
  }
  // GPU seconds for a generated token.
  const double requests = pool.role == Role::Prefill ? prompts : batch;
  const double share = static_cast<double>(w.stage_ranks()) /
                       (requests * static_cast<double>(w.dp * problem.workload.osl));
  return {decodes ? steps * share : 0.0,
          pool.role == Role::Decode ? 0.0 : share * (pool.role == Role::Both ? passes : 1.0)};
}

// What the objective counts, smaller being better.
double quantity(const Problem& problem, const Score& score) {
  switch (problem.targets.objective) {
    case Objective::Ttft:
      return score.ttft_s;
    case Objective::Tpot:
      return score.tpot_s;
    default:
      break;
  }
  const double tokens = score.tokens_per_s_per_gpu();
  return tokens > 0 ? 1 / tokens : 0;
}

class Collector {
 public:
  Collector(const Problem& problem, double whole)
      : costs_(problem.model, problem.cluster, problem.engine, problem.workload), whole_(whole) {}

  void add(const Pool& pool, const WorkerPrediction& p, const Weights& weights) {
    const Worker& w = pool.worker;
    const std::vector<std::int32_t>& layers = costs_.model().layers;
    for (std::size_t k = 0; k < costs_.model().kinds.size(); ++k) {
      const auto n = static_cast<double>(std::ranges::count(layers, static_cast<std::int32_t>(k)));
      const double share = costs_.peak_share(k, w);
      if (weights.pass > 0) {
        const std::int64_t prompts = p.timing.prompts;
        const double times = n * weights.pass;
        add(Phase::Prefill, Part::Layer, costs_.tensor_prefill(k, w, prompts), times, w);
        add(Phase::Prefill, Part::Experts, costs_.experts_prefill(k, w, prompts, share), times, w);
      }
      if (weights.step > 0) {
        const std::int64_t rows = (w.batch + w.microbatches - 1) / w.microbatches;
        const double times = n * weights.step * static_cast<double>(w.microbatches);
        add(Phase::Decode, Part::Layer, costs_.tensor_decode(k, w, rows), times, w);
        add(Phase::Decode, Part::Experts, costs_.experts(k, w, rows, share), times, w);
        if (k > 0) continue;
        const double once = weights.step * static_cast<double>(w.microbatches);
        add(Phase::Decode, Part::Logits, costs_.logits(w, rows), once, w);
        add(Phase::Decode, Part::HandOver, costs_.hand_over(w, rows),
            once * static_cast<double>(w.pp() - 1), w);
      }
    }
  }
  ErrorShares take() { return std::move(out_); }

 private:
  // The part's error, over what binds it in proportion to seconds.
  void add(Phase phase, Part part, const Cost& cost, double times, const Worker& w) {
    double timed = 0;
    for (std::size_t b = 0; b < kBounds; ++b) {
      if (static_cast<Bound>(b) != Bound::Fixed) timed += cost.by[b];
    }
    if (timed <= 0) return;
    const bool experts = part == Part::Experts;
    for (std::size_t b = 0; b < kBounds; ++b) {
      if (static_cast<Bound>(b) == Bound::Fixed || cost.by[b] <= 0) continue;
      const ErrorShares::Operator key = {
          static_cast<std::int64_t>(phase), static_cast<std::int64_t>(part),
          static_cast<std::int64_t>(b),     experts ? w.ep : w.tp,
          experts ? w.etp : w.sp,           experts ? w.redundant : 0};
      out_.by_operator[key] += cost.error_s * cost.by[b] / timed * times / whole_;
    }
  }

  StepCost costs_;
  double whole_;
  ErrorShares out_;
};

std::string kind_of(const StrategyFamily& family) {
  return family.disaggregated ? "prefill and decode apart" : family_name(family.kinds);
}

}  // namespace

ErrorShares error_shares(const Problem& problem, const Deployment& deployment) {
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  Collector collector(problem, quantity(problem, deployment.score));
  for (const Pool& pool : deployment.pools) {
    const WorkerPrediction p = predict_worker(costs, pool.worker, pool.role);
    collector.add(pool, p, weights_of(problem, pool, p));
  }
  return collector.take();
}

double difference_error(const ErrorShares& a, const ErrorShares& b) {
  double squares = 0;
  for (const auto& [op, share] : a.by_operator) {
    const auto same = b.by_operator.find(op);
    const double left = same == b.by_operator.end() ? share : share - same->second;
    squares += left * left;
  }
  for (const auto& [op, share] : b.by_operator) {
    if (!a.by_operator.contains(op)) squares += share * share;
  }
  return std::sqrt(squares);
}

std::vector<Undecided> undecided(const Problem& problem, const SearchResult& result) {
  std::vector<Undecided> out;
  if (!result.winner || problem.workload.rate_per_s || !result.shortlist.empty()) return out;
  const Deployment& winner = *result.winner;
  const double best = quantity(problem, winner.score);
  if (best <= 0) return out;
  const ErrorShares errors = error_shares(problem, winner);
  const std::string name = describe(winner);
  for (const StrategyFamily& family : result.families) {
    if (!family.best || describe(*family.best) == name) continue;
    // Fewer GPUs are fewer, whatever they deliver.
    const bool counts = problem.targets.objective == Objective::Gpus;
    if (counts && family.best->score.gpus != winner.score.gpus) continue;
    Undecided other{kind_of(family), *family.best, 0, 0};
    other.behind = std::max(0.0, std::log(quantity(problem, family.best->score) / best));
    other.error = difference_error(errors, error_shares(problem, *family.best));
    if (other.behind <= other.error) out.push_back(std::move(other));
  }
  std::ranges::stable_sort(out, {}, &Undecided::behind);
  return out;
}

std::string sentence(const Undecided& other) {
  return fmt::format("{:.1f} % behind, error of the difference {:.1f} %",
                     100 * std::expm1(other.behind), 100 * std::expm1(other.error));
}

}  // namespace pentafold
