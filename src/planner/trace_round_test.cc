#include "planner/trace_round.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "planner/deployed_plans.h"
#include "spec/arrivals.h"
#include "spec/load_shape.h"

namespace pentafold {
namespace {

Problem qwen_problem(std::int64_t gpus) {
  Problem problem;
  problem.model = load_shape("qwen3-30b-a3b").value().model;
  problem.cluster = default_cluster(find_gpu("h200-sxm").value(), gpus);
  problem.workload.isl = 2000;
  problem.workload.osl = 200;
  problem.precisions = {problem.model.stored};
  return problem;
}

TraceRound bursts(double rate_per_s) {
  ArrivalSpec spec;
  spec.process = ArrivalProcess::Gamma;
  spec.cv = 2;
  spec.rate_per_s = rate_per_s;
  spec.prompt = {500, 3500};
  spec.output = {100, 300};
  spec.requests = 200;
  spec.seed = 5;
  TraceRound round;
  round.trace = generate_trace(spec).value();
  round.plans = 4;
  return round;
}

ServedLimit limit(ServedMetric metric, int percent, double seconds) {
  return {metric, percent, seconds};
}

// A plan as the simulator alone sees it: nothing of the round's own is between.
ServiceSummary simulated_plainly(const Problem& problem, const Deployment& deployment,
                                 const TraceRound& round) {
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  std::vector<PlannedPool> pools;
  const std::vector<Plan> plans = deployed_plans(problem, deployment);
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const Pool& pool = deployment.pools[i];
    pools.push_back({{pool.worker, pool.replicas, pool.role, 0.9}, plans[i]});
  }
  SimulationOptions options;
  options.targets = round.slo;
  return simulate(round.trace, planned_service(costs, pools, round.serving).value().service,
                  options)
      .summary;
}

TEST(TraceRound, SimulatesTheBestPlansAndKeepsTheOneThatServesBest) {
  Problem problem = qwen_problem(8);
  problem.targets.served = {limit(ServedMetric::Ttft, 99, 2), limit(ServedMetric::Tpot, 99, 0.05)};
  const TraceRound round = bursts(10);
  const SimulatedSearch found = search_simulated(problem, {}, round);
  ASSERT_EQ(found.plans.size(), 4U);
  ASSERT_TRUE(found.search.winner.has_value());
  std::set<std::string> different;
  double best = 0;
  for (const SimulatedPlan& plan : found.plans) {
    EXPECT_TRUE(different.insert(describe(plan.deployment)).second);
    EXPECT_EQ(plan.summary.finished + plan.summary.rejected, 200);
    if (plan.met()) best = std::max(best, plan.rate_per_gpu(false));
    const ServiceSummary plain = simulated_plainly(problem, plan.deployment, round);
    EXPECT_EQ(plain.ttft.p99, plan.summary.ttft.p99);
    EXPECT_EQ(plain.duration_s, plan.summary.duration_s);
    for (const ServedCheck& check : plan.checks) {
      EXPECT_EQ(check.met(), check.reached <= check.bound) << check.name;
    }
    EXPECT_EQ(plan.checks[0].reached, plan.summary.ttft.p99);
    EXPECT_EQ(plan.checks[1].reached, plan.summary.tpot.p99);
  }
  const SimulatedPlan& winner = found.plans.front();
  EXPECT_TRUE(winner.met());
  EXPECT_EQ(describe(winner.deployment), describe(*found.search.winner));
  EXPECT_GE(winner.rate_per_gpu(false), best * (1 - kSameRate));
  // Of those that serve as much, nobody has more room.
  for (const SimulatedPlan& plan : found.plans) {
    if (!plan.met() || plan.rate_per_gpu(false) < best * (1 - kSameRate)) continue;
    EXPECT_GE(plan.worst_used(), winner.worst_used());
  }
  EXPECT_TRUE(why_none_serves(found).empty() || !winner.met());
}

TEST(TraceRound, ThreadsDoNotChangeTheAnswer) {
  Problem problem = qwen_problem(4);
  problem.targets.served = {limit(ServedMetric::E2e, 90, 20)};
  const TraceRound round = bursts(8);
  const SimulatedSearch one = search_simulated(problem, {1}, round);
  const SimulatedSearch four = search_simulated(problem, {4}, round);
  ASSERT_EQ(one.plans.size(), four.plans.size());
  for (std::size_t i = 0; i < one.plans.size(); ++i) {
    EXPECT_EQ(describe(one.plans[i].deployment), describe(four.plans[i].deployment));
    EXPECT_EQ(one.plans[i].summary.e2e.p90, four.plans[i].summary.e2e.p90);
    EXPECT_EQ(one.plans[i].place, four.plans[i].place);
  }
}

TEST(TraceRound, WhatNobodyMeetsIsNamedWithTheBest) {
  Problem problem = qwen_problem(2);
  problem.targets.served = {limit(ServedMetric::Ttft, 99, 1e-3), limit(ServedMetric::E2e, 50, 1e3)};
  const SimulatedSearch found = search_simulated(problem, {}, bursts(5));
  EXPECT_FALSE(found.search.winner);
  EXPECT_TRUE(found.lifted) << "no mean is below 1 ms";
  ASSERT_FALSE(found.plans.empty());
  double best = 1e30;
  for (const SimulatedPlan& plan : found.plans) best = std::min(best, plan.summary.ttft.p99);
  const auto why = why_none_serves(found);
  ASSERT_EQ(why.size(), 1U);
  EXPECT_NE(why[0].find("no plan meets ttft_p99"), std::string::npos) << why[0];
  const ServedCheck check{"ttft_p99", 1e-3, best, best / 1e-3};
  EXPECT_NE(why[0].find(format_served(check, best)), std::string::npos) << why[0];
}

TEST(TraceRound, ThePlansThatAnswerFirstAreTriedBeforeNoneIsSaidToServe) {
  Problem problem = qwen_problem(8);
  problem.targets.served = {limit(ServedMetric::E2e, 50, 1e-6)};
  const TraceRound round = bursts(2);
  const SimulatedSearch found = search_simulated(problem, {}, round);
  EXPECT_EQ(found.plans.size(), found.search.shortlist.size());
  EXPECT_GT(std::ssize(found.plans), round.plans);
  for (const Objective objective : {Objective::Ttft, Objective::Tpot}) {
    Problem fast = problem;
    fast.targets.objective = objective;
    const std::string fastest = describe(*search(fast, {}).winner);
    EXPECT_TRUE(std::ranges::any_of(found.plans, [&](const SimulatedPlan& plan) {
      return describe(plan.deployment) == fastest;
    })) << fastest;
  }
}

// Whether the closed form's number of replicas is too small for the bursts or larger than needed.
TEST(TraceRound, FewestGpusAreAsFewAsServeTheTrace) {
  int grown = 0;
  int shrunk = 0;
  for (const double seconds : {0.2, 0.5, 5.0}) {
    Problem problem = qwen_problem(0);
    problem.max_gpus = 64;
    problem.targets.objective = Objective::Gpus;
    TraceRound round = bursts(40);
    problem.workload.rate_per_s =
        static_cast<double>(round.trace.requests.size() - 1) / round.trace.duration_s();
    round.plans = 2;
    problem.targets.served = {limit(ServedMetric::Ttft, 99, seconds)};
    const SimulatedSearch found = search_simulated(problem, {}, round);
    for (const SimulatedPlan& plan : found.plans) {
      if (!plan.met()) continue;
      const auto place = static_cast<std::size_t>(plan.place - 1);
      const std::int64_t closed = found.search.shortlist[place].score.gpus;
      grown += plan.deployment.score.gpus > closed ? 1 : 0;
      shrunk += plan.deployment.score.gpus < closed ? 1 : 0;
      // One replica fewer misses.
      Deployment fewer = plan.deployment;
      fewer.pools.front().replicas -= 1;
      if (fewer.pools.size() > 1 || fewer.pools.front().replicas < 1) continue;
      EXPECT_GT(simulated_plainly(problem, fewer, round).ttft.p99, seconds);
    }
  }
  EXPECT_GT(grown + shrunk, 0);
}

TEST(TraceRound, RejectedRequestsAreBeyondEveryPercentileThatTheyReach) {
  Problem problem = qwen_problem(2);
  TraceRound round = bursts(5);
  // A twentieth asks for more than the cache holds.
  round.serving.kv_tokens = 20'000;
  for (std::size_t i = 0; i < round.trace.requests.size(); i += 20) {
    round.trace.requests[i].prompt_tokens = 30'000;
  }
  problem.targets.served = {limit(ServedMetric::Ttft, 90, 1e6), limit(ServedMetric::Ttft, 99, 1e6)};
  const SimulatedSearch found = search_simulated(problem, {}, round);
  ASSERT_FALSE(found.plans.empty());
  for (const SimulatedPlan& plan : found.plans) {
    if (!plan.failure.empty() || plan.summary.rejected != 10) continue;
    EXPECT_TRUE(plan.checks[0].met());
    EXPECT_FALSE(plan.checks[1].met());
  }
  EXPECT_FALSE(found.search.winner);
}

TEST(TraceRound, GoodputOrdersWhereRequestsHaveLimits) {
  Problem problem = qwen_problem(4);
  problem.targets.goodput_per_s = 1;
  TraceRound round = bursts(20);
  round.slo.ttft_s = 0.3;
  round.slo.tpot_s = 0.02;
  const SimulatedSearch found = search_simulated(problem, {}, round);
  ASSERT_TRUE(found.search.winner.has_value());
  for (const SimulatedPlan& plan : found.plans) {
    EXPECT_EQ(plan.checks.front().reached, plan.summary.goodput_per_s);
    if (!plan.met()) continue;
    EXPECT_GE(found.plans.front().summary.goodput_per_s,
              plan.summary.goodput_per_s * (1 - kSameRate));
  }
}

TEST(TraceRound, LimitsOnPercentilesAreLimitsOnMeansToTheSearch) {
  Problem problem = qwen_problem(8);
  problem.targets.ttft_s = 1;
  problem.targets.served = {limit(ServedMetric::Ttft, 99, 2), limit(ServedMetric::Tpot, 50, 0.02),
                            limit(ServedMetric::Tpot, 99, 0.03), limit(ServedMetric::E2e, 99, 9)};
  const Targets means = with_mean_limits(problem).targets;
  EXPECT_EQ(means.ttft_s.value_or(0), 1);
  EXPECT_EQ(means.tpot_s.value_or(0), 0.02);
  problem.workload.osl = 1;  // then there is no time a token
  EXPECT_FALSE(with_mean_limits(problem).targets.tpot_s);
}

}  // namespace
}  // namespace pentafold
