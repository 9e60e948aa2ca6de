#include "planner/trace_round.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <thread>

#include "base/units.h"
#include "planner/deployed_plans.h"

namespace pentafold {
namespace {

constexpr std::int64_t kMostBlocks = 1'000'000'000;  // of models that cache next to nothing

const Distribution& distribution(const ServiceSummary& summary, ServedMetric metric) {
  switch (metric) {
    case ServedMetric::Ttft:
      return summary.ttft;
    case ServedMetric::Tpot:
      return summary.tpot;
    case ServedMetric::Itl:
      return summary.itl;
    case ServedMetric::E2e:
      break;
  }
  return summary.e2e;
}

double value_at(const Distribution& d, int percent) {
  return percent == 50 ? d.p50 : percent == 90 ? d.p90 : percent == 99 ? d.p99 : d.mean;
}

std::vector<ServedCheck> checks_of(const Targets& targets, const ServiceSummary& summary) {
  std::vector<ServedCheck> out;
  const auto all = static_cast<double>(summary.finished + summary.rejected);
  for (const ServedLimit& limit : targets.served) {
    // A rejected request waits for ever: it is beyond every percentile it could be part of.
    const double spared = all * (limit.percent > 0 ? 1 - limit.percent / 100.0 : 0);
    const bool lost = static_cast<double>(summary.rejected) > spared || summary.finished == 0;
    const double reached = lost ? std::numeric_limits<double>::infinity()
                                : value_at(distribution(summary, limit.metric), limit.percent);
    out.push_back({limit.name(), limit.seconds, reached, reached / limit.seconds});
  }
  if (targets.goodput_per_s) {
    const double reached = summary.goodput_per_s;
    out.push_back({"goodput", *targets.goodput_per_s, reached, *targets.goodput_per_s / reached});
  }
  return out;
}

// Simulates deployments of one problem; safe from several threads.
class Simulated {
 public:
  Simulated(const Problem& problem, const TraceRound& round)
      : problem_(problem),
        round_(round),
        costs_(problem_.model, problem_.cluster, problem_.engine, problem_.workload) {}

  SimulatedPlan serve(Deployment deployment) const {
    SimulatedPlan out;
    std::vector<PlannedPool> pools;
    for (Pool& pool : deployment.pools) pool.kv_blocks = blocks_of(pool);
    std::vector<Plan> plans = deployed_plans(problem_, deployment);
    for (std::size_t i = 0; i < plans.size(); ++i) {
      pools.push_back({served(deployment.pools[i]), std::move(plans[i])});
    }
    out.deployment = std::move(deployment);
    const auto made = planned_service(costs_, pools, round_.serving);
    if (!made.ok()) {
      out.failure = made.error().message;
      return out;
    }
    SimulationOptions options;
    options.targets = round_.slo;
    out.summary = simulate(round_.trace, made->service, options).summary;
    if (out.summary.finished == 0) out.failure = "its KV blocks hold none of the requests";
    out.checks = checks_of(problem_.targets, out.summary);
    return out;
  }

  // Where their number is free: as few replicas as hold the limits.
  SimulatedPlan serve_with_enough(const Deployment& deployment) const {
    SimulatedPlan first = serve(deployment);
    const bool free = problem_.cluster.gpus == 0 || problem_.targets.objective == Objective::Gpus;
    if (!free || !first.failure.empty() || first.checks.empty()) return first;
    // Tokens/s that were asked for need the replicas that the closed form counted.
    if (first.met() && problem_.targets.tokens_per_s) return first;
    std::int64_t low = 0;  // too few
    std::int64_t high = deployment.pools.front().replicas;
    SimulatedPlan enough = first;
    while (!enough.met()) {
      low = high;
      high *= 2;
      const Deployment more = scaled(deployment, high);
      if (more.score.gpus > problem_.gpu_limit()) return first;
      enough = serve(more);
    }
    while (high - low > 1) {
      const std::int64_t middle = low + (high - low) / 2;
      SimulatedPlan tried = serve(scaled(deployment, middle));
      if (tried.met()) {
        high = middle;
        enough = std::move(tried);
      } else {
        low = middle;
      }
    }
    return enough;
  }

 private:
  ServedWorker served(const Pool& pool) const {
    return {pool.worker, pool.replicas, pool.role, problem_.targets.memory_fraction};
  }

  // What memory leaves beside a step of the full batch, as verify counts it.
  std::int64_t blocks_of(const Pool& pool) const {
    ServedWorker sized = served(pool);
    sized.worker = serving_worker(problem_.engine, sized.worker);
    const std::int64_t blocks =
        kv_blocks_per_group(costs_, sized, BatchLimits{}.block_tokens,
                            cached_tokens(problem_.workload, pool.role), pool.worker.batch);
    return std::clamp<std::int64_t>(blocks, 0, kMostBlocks);
  }

  // `replicas` of the first pool, the other in proportion.
  static Deployment scaled(Deployment deployment, std::int64_t replicas) {
    const std::int64_t before = deployment.pools.front().replicas;
    deployment.score.gpus = 0;
    for (Pool& pool : deployment.pools) {
      pool.replicas = (pool.replicas * replicas + before - 1) / before;
      deployment.score.gpus += pool.gpus();
    }
    deployment.score.provisioned = deployment.score.gpus;
    return deployment;
  }

  const Problem& problem_;
  const TraceRound& round_;
  StepCost costs_;
};

// Of the plans from `first` on.
std::vector<SimulatedPlan> simulate_all(const Simulated& simulated,
                                        const std::vector<Deployment>& plans, std::size_t first,
                                        int threads) {
  std::vector<SimulatedPlan> out(plans.size() - first);
  std::atomic<std::size_t> next{first};
  const auto work = [&] {
    for (std::size_t i = next++; i < plans.size(); i = next++) {
      SimulatedPlan& plan = out[i - first];
      plan = simulated.serve_with_enough(plans[i]);
      plan.place = static_cast<std::int64_t>(i) + 1;
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  return out;
}

// The plans with the least TTFT, and those with the least TPOT, that are not in the list yet.
void add_fastest(const Problem& problem, const SearchOptions& options,
                 std::vector<Deployment>& plans) {
  SearchOptions listing = options;
  listing.pareto = false;
  listing.shortlist = std::max<std::int64_t>(options.shortlist / 2, 1);
  for (const Objective objective : {Objective::Ttft, Objective::Tpot}) {
    if (objective == Objective::Tpot && problem.workload.osl < 2) continue;
    Problem fast = problem;
    fast.targets.objective = objective;
    for (Deployment& found : search(fast, listing).shortlist) {
      const std::string name = describe(found);
      const auto same = [&](const Deployment& known) { return describe(known) == name; };
      if (std::ranges::none_of(plans, same)) plans.push_back(std::move(found));
    }
  }
}

// What an objective beside throughput wants small; 0 for the others.
double wished(const Problem& problem, const SimulatedPlan& plan) {
  switch (problem.targets.objective) {
    case Objective::Gpus:
      return static_cast<double>(plan.deployment.score.gpus);
    case Objective::Ttft:
      return plan.summary.ttft.p99;
    case Objective::Tpot:
      return plan.summary.tpot.p99;
    case Objective::TokensPerSecondPerGpu:
    case Objective::Cost:
      break;
  }
  return 0;
}

// Best first.
void put_in_order(const Problem& problem, bool goodput, std::vector<SimulatedPlan>& plans) {
  double most = 0;
  for (const SimulatedPlan& plan : plans) {
    if (plan.met()) most = std::max(most, plan.rate_per_gpu(goodput));
  }
  struct Key {
    int group = 0;    // serves; misses a limit; cannot serve
    double wish = 0;  // of those that serve
    double rate = 0;  // likewise, negative; 0 for as good as the best
    double used = 0;  // of the limits
    double e2e = 0;
    std::int64_t place = 0;
    auto operator<=>(const Key&) const = default;
  };
  const auto key = [&](const SimulatedPlan& plan) {
    Key k;
    k.group = !plan.failure.empty() ? 2 : plan.met() ? 0 : 1;
    if (k.group == 0) {
      const double rate = plan.rate_per_gpu(goodput);
      k.wish = wished(problem, plan);
      k.rate = rate >= (1 - kSameRate) * most ? -most : -rate;
    }
    k.used = plan.worst_used();
    k.e2e = plan.summary.e2e.p99;
    k.place = plan.place;
    return k;
  };
  std::ranges::sort(
      plans, [&](const SimulatedPlan& a, const SimulatedPlan& b) { return key(a) < key(b); });
}

}  // namespace

bool SimulatedPlan::met() const {
  return failure.empty() && std::ranges::all_of(checks, &ServedCheck::met);
}

double SimulatedPlan::worst_used() const {
  double worst = 0;
  for (const ServedCheck& check : checks) worst = std::max(worst, check.used);
  return worst;
}

double SimulatedPlan::rate_per_gpu(bool goodput) const {
  return (goodput ? summary.goodput_per_s : summary.output_tokens_per_s) /
         static_cast<double>(std::max<std::int64_t>(deployment.score.provisioned, 1));
}

bool wants_simulation(const Targets& targets) {
  return !targets.served.empty() || targets.goodput_per_s.has_value();
}

Problem with_mean_limits(const Problem& problem) {
  Problem out = problem;
  for (const ServedLimit& limit : problem.targets.served) {
    const bool first = limit.metric == ServedMetric::Ttft;
    if (!first && (limit.metric != ServedMetric::Tpot || problem.workload.osl < 2)) continue;
    std::optional<double>& mean = first ? out.targets.ttft_s : out.targets.tpot_s;
    mean = std::min(mean.value_or(limit.seconds), limit.seconds);
  }
  return out;
}

SimulatedSearch search_simulated(const Problem& problem, const SearchOptions& options,
                                 const TraceRound& round) {
  SearchOptions listing = options;
  listing.shortlist = round.plans;
  SimulatedSearch out;
  out.search = search(with_mean_limits(problem), listing);
  if (!out.search.winner && !problem.targets.served.empty()) {
    out.search = search(problem, listing);
    out.lifted = true;
  }
  const Simulated simulated(problem, round);
  out.plans = simulate_all(simulated, out.search.shortlist, 0, options.threads);
  if (std::ranges::none_of(out.plans, &SimulatedPlan::met) && wants_simulation(problem.targets)) {
    // What serves most is not what answers first: those are tried too before saying that none can.
    const std::size_t known = out.search.shortlist.size();
    add_fastest(problem, listing, out.search.shortlist);
    const auto more = simulate_all(simulated, out.search.shortlist, known, options.threads);
    out.plans.insert(out.plans.end(), more.begin(), more.end());
  }
  put_in_order(problem, round.slo.any(), out.plans);
  out.search.winner.reset();
  if (!out.plans.empty() && out.plans.front().met()) {
    out.search.winner = out.plans.front().deployment;
  }
  return out;
}

std::string format_served(const ServedCheck& check, double value) {
  if (check.name == "goodput") return fmt::format("{:.4g}/s", value);
  return value < std::numeric_limits<double>::infinity() ? format_seconds(value) : "never";
}

std::vector<std::string> why_none_serves(const SimulatedSearch& found) {
  std::vector<std::string> out;
  std::vector<const SimulatedPlan*> able;
  for (const SimulatedPlan& plan : found.plans) {
    if (plan.failure.empty()) able.push_back(&plan);
  }
  if (able.empty()) return out;
  const auto say = [&](const SimulatedPlan& plan, const ServedCheck& check) {
    return fmt::format("{}: {}, limit {} ({:.3g} times the limit): {}", check.name,
                       format_served(check, check.reached), format_served(check, check.bound),
                       check.used, describe(plan.deployment));
  };
  for (std::size_t i = 0; i < able.front()->checks.size(); ++i) {
    const SimulatedPlan* best = *std::ranges::min_element(
        able, {}, [&](const SimulatedPlan* plan) { return plan->checks[i].used; });
    if (!best->checks[i].met()) out.push_back("no plan meets " + say(*best, best->checks[i]));
  }
  if (!out.empty()) return out;
  for (const ServedCheck& check : able.front()->checks) {
    if (!check.met()) {
      out.push_back("each limit is met by some plan, all by none; the nearest misses " +
                    say(*able.front(), check));
    }
  }
  return out;
}

}  // namespace pentafold
