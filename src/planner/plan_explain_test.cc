#include "planner/plan_explain.h"

#include <gtest/gtest.h>

#include <cmath>

#include "spec/load_shape.h"

namespace pentafold {
namespace {

Problem problem_of(const char* model, const char* gpu) {
  Problem p;
  p.model = load_shape(model).value().model;
  p.cluster = default_cluster(find_gpu(gpu).value(), 0);
  p.workload.isl = 4000;
  p.workload.osl = 1000;
  p.precisions = {p.model.stored};
  return p;
}

Contender contender(const Problem& p, const char* name, std::int64_t dp, std::int64_t tp,
                    std::int64_t ep) {
  Pool pool;
  pool.worker.stage_layers = {p.model.num_layers()};
  pool.worker.dp = dp;
  pool.worker.tp = tp;
  pool.worker.ep = ep;
  pool.worker.batch = 16;
  pool.worker.chunk = 8192;
  pool.worker.precision = p.model.stored;
  pool.replicas = 1;
  return {name, {pool}};
}

// All pairs of a few plans, some with stages and microbatches.
std::vector<Contender> several(const Problem& p) {
  std::vector<Contender> out = {contender(p, "dp8", 8, 1, 8), contender(p, "tp4", 1, 4, 4),
                                contender(p, "mixed", 4, 2, 8), contender(p, "one", 1, 1, 1)};
  Contender stages = contender(p, "stages", 2, 1, 2);
  stages.pools[0].worker.stage_layers = {p.model.num_layers() / 2,
                                         p.model.num_layers() - p.model.num_layers() / 2};
  stages.pools[0].worker.microbatches = 2;
  out.push_back(stages);
  Contender split = contender(p, "split", 4, 1, 4);
  split.pools.insert(split.pools.begin(), contender(p, "", 1, 1, 1).pools[0]);
  split.pools[0].role = Role::Prefill;
  split.pools[0].replicas = 2;
  split.pools[1].role = Role::Decode;
  out.push_back(split);
  return out;
}

double sum(const Cost& cost) {
  double s = 0;
  for (const double part : cost.by) s += part;
  return s;
}

TEST(PlanExplain, ReasonsSumToTheDifference) {
  const Problem p = problem_of("qwen3-30b-a3b", "h200");
  for (const Contender& a : several(p)) {
    for (const Contender& b : several(p)) {
      const Comparison c = compare_plans(p, a, b);
      const double decode =
          c.b.predictions.back().timing.decode_s - c.a.predictions.back().timing.decode_s;
      const double prefill =
          c.b.predictions.front().timing.prefill_s - c.a.predictions.front().timing.prefill_s;
      EXPECT_NEAR(sum(c.decode_difference), decode, 1e-12);
      EXPECT_NEAR(sum(c.prefill_difference), prefill, 1e-12);
      const double token = 1 / c.b.tokens_per_s_per_gpu - 1 / c.a.tokens_per_s_per_gpu;
      EXPECT_NEAR(sum(c.token_difference), token, 1e-12);
      EXPECT_NEAR(c.token_difference.seconds, token, 1e-12);
      for (const double part : c.a.token.by) EXPECT_GE(part, 0);
      EXPECT_GE(c.sentences.size(), 3U);
      EXPECT_LE(c.sentences.size(), 5U);
    }
  }
}

TEST(PlanExplain, TheViewIsThePrediction) {
  const Problem p = problem_of("qwen3-30b-a3b", "h200");
  const StepCost costs(p.model, p.cluster, p.engine, p.workload);
  for (const Contender& c : several(p)) {
    if (c.pools.size() > 1) continue;
    const Pool& pool = c.pools[0];
    const WorkerPrediction truth = predict_worker(costs, pool.worker, pool.role);
    const ContenderView v = view(p, c);
    EXPECT_EQ(v.ttft_s, truth.rates.ttft_s);
    EXPECT_EQ(v.tpot_s, truth.rates.tpot_s);
    EXPECT_EQ(v.memory_bytes, truth.memory.total());
    EXPECT_DOUBLE_EQ(v.tokens_per_s_per_gpu,
                     truth.rates.tokens_per_s / static_cast<double>(pool.gpus()));
  }
}

// Tokens/s per GPU of both, by the axis of a flip, set by hand.
std::pair<double, double> at(const Problem& given, const Comparison& c, const Flip& flip,
                             std::int64_t n) {
  Problem p = given;
  const auto one = [&](Contender who) {
    double filled = 1;
    if (flip.axis == "prompt tokens") {
      p.workload.isl = n;
    } else {
      Pool& pool = who.pools.back();
      const std::int64_t groups = pool.worker.dp * pool.replicas;
      pool.worker.batch = (n + groups - 1) / groups;
      pool.worker.microbatches = std::min(pool.worker.microbatches, pool.worker.batch);
      filled = static_cast<double>(n) / static_cast<double>(groups * pool.worker.batch);
    }
    const ContenderView v = view(p, who);
    return v.fits ? v.tokens_per_s_per_gpu * filled : 0;
  };
  return {one(c.first), one(c.second)};
}

TEST(PlanExplain, TheOrderTurnsWhereItSays) {
  const Problem p = problem_of("qwen3-30b-a3b", "h200");
  int flips = 0;
  for (const Contender& a : several(p)) {
    for (const Contender& b : several(p)) {
      const Comparison c = compare_plans(p, a, b);
      for (const Flip& flip : c.flips) {
        ++flips;
        const auto [first, second] = at(p, c, flip, flip.at);
        const auto [first_before, second_before] = at(p, c, flip, flip.at - 1);
        EXPECT_EQ(second > first, flip.second_above) << flip.axis << " " << flip.at;
        const double tie = 1e-9 * std::max(first_before, second_before);
        if (flip.second_above) {
          EXPECT_LE(second_before, first_before + tie) << flip.axis << " " << flip.at;
        } else {
          EXPECT_GE(second_before, first_before - tie) << flip.axis << " " << flip.at;
        }
      }
    }
  }
  EXPECT_GT(flips, 4);
}

TEST(PlanExplain, SwappedItSaysTheSameOfTheOther) {
  const Problem p = problem_of("qwen3-30b-a3b", "h200");
  const auto plans = several(p);
  const Comparison ab = compare_plans(p, plans[0], plans[1]);
  const Comparison ba = compare_plans(p, plans[1], plans[0]);
  EXPECT_EQ(ab.sentences[0], ba.sentences[0]);
  for (std::size_t i = 0; i < kBounds; ++i) {
    EXPECT_EQ(ab.decode_difference.by[i], -ba.decode_difference.by[i]);
  }
  ASSERT_EQ(ab.flips.size(), ba.flips.size());
  for (std::size_t i = 0; i < ab.flips.size(); ++i) {
    EXPECT_EQ(ab.flips[i].at, ba.flips[i].at);
    EXPECT_NE(ab.flips[i].second_above, ba.flips[i].second_above);
  }
}

TEST(PlanExplain, APlanDoesNotBeatItself) {
  const Problem p = problem_of("qwen3-30b-a3b", "h200");
  const Contender same = several(p)[0];
  const Comparison c = compare_plans(p, same, same);
  EXPECT_EQ(c.sentences[0].find("Neither wins"), 0U);
  EXPECT_TRUE(c.flips.empty());
  EXPECT_EQ(c.decode_difference.seconds, 0);
  EXPECT_NE(plan_explain(p, c).find("The plans are the same"), std::string::npos);
}

TEST(PlanExplain, WhatDoesNotFitLoses) {
  const Problem p = problem_of("deepseek-v3", "h100");
  const Comparison c = compare_plans(p, contender(p, "A", 1, 8, 8), contender(p, "B", 32, 1, 32));
  EXPECT_FALSE(c.a.fits);
  ASSERT_TRUE(c.b.fits);
  EXPECT_EQ(c.sentences[0], "B wins: A does not fit into memory");
  const std::string page = plan_explain(p, c);
  for (const char* part : {"# A against B", "## Why", "## Both, as predicted",
                           "## Where the difference comes from", "## Where the order turns"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace pentafold
