#include "planner/undecided.h"

#include <gtest/gtest.h>

#include <cmath>

#include "planner/plan_explain.h"
#include "spec/load_shape.h"

namespace pentafold {
namespace {

Problem problem_of(const char* model, const char* gpu, std::int64_t gpus) {
  Problem problem;
  problem.model = load_shape(model).value().model;
  problem.cluster = default_cluster(find_gpu(gpu).value(), gpus);
  problem.workload.isl = 4000;
  problem.workload.osl = 1000;
  problem.precisions = {problem.model.stored};
  return problem;
}

double sum(const ErrorShares& shares) {
  double out = 0;
  for (const auto& [op, share] : shares.by_operator) out += share;
  return out;
}

TEST(Undecided, APlanDoesNotDifferFromItself) {
  const Problem problem = problem_of("mixtral-8x7b", "h100-sxm", 8);
  const Deployment winner = *search(problem, {}).winner;
  const ErrorShares shares = error_shares(problem, winner);
  EXPECT_GT(shares.by_operator.size(), 4U);
  EXPECT_EQ(difference_error(shares, shares), 0);
  // Against a plan that shares nothing, all of it counts.
  double squares = 0;
  for (const auto& [op, share] : shares.by_operator) squares += share * share;
  EXPECT_NEAR(difference_error(shares, {}), std::sqrt(squares), 1e-15);
  EXPECT_NEAR(difference_error({}, shares), std::sqrt(squares), 1e-15);
}

// All errors added up are those of the whole prediction: nothing is lost or counted twice.
TEST(Undecided, SharesAddUpToTheErrorOfThePrediction) {
  for (const char* model : {"mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3", "llama-3.1-70b"}) {
    for (const bool apart : {false, true}) {
      Problem problem = problem_of(model, "h200-sxm", 16);
      problem.aggregated = !apart;
      problem.disaggregated = apart;
      const auto winner = search(problem, {}).winner;
      if (!winner || winner->pools.front().worker.pp() > 1) continue;
      const ContenderView whole = view(problem, {"A", winner->pools});
      const double shares = sum(error_shares(problem, *winner));
      // Fixed costs have no error; the logits of a prompt are in the one and not in the other, and
      // a fleet that is not filled counts as idle.
      const double expected = whole.token.error_s * winner->score.tokens_per_s_per_gpu();
      EXPECT_NEAR(shares, expected, 0.03 * expected) << model << " " << describe(*winner);
    }
  }
}

TEST(Undecided, WhatBothDoAlikeCountsOnce) {
  const ErrorShares::Operator shared = {1, 0, 1, 2, 1, 0};
  const ErrorShares::Operator mine = {1, 1, 3, 8, 1, 0};
  const ErrorShares::Operator yours = {1, 1, 3, 4, 2, 0};
  const ErrorShares a{{{shared, 0.05}, {mine, 0.03}}};
  const ErrorShares b{{{shared, 0.04}, {yours, 0.04}}};
  EXPECT_NEAR(difference_error(a, b), std::sqrt(0.01 * 0.01 + 0.03 * 0.03 + 0.04 * 0.04), 1e-12);
  EXPECT_NEAR(difference_error(a, b), difference_error(b, a), 1e-15);
}

TEST(Undecided, ListsWhoeverIsWithinTheErrorAndNobodyElse) {
  int listed = 0;
  int decided = 0;
  for (const auto& [model, gpu, gpus] :
       {std::tuple("qwen3-30b-a3b", "h200-sxm", 4), std::tuple("mixtral-8x7b", "h100-sxm", 8),
        std::tuple("deepseek-v3", "h200-sxm", 32)}) {
    for (const Objective objective :
         {Objective::TokensPerSecondPerGpu, Objective::Tpot, Objective::Ttft}) {
      Problem problem = problem_of(model, gpu, gpus);
      problem.targets.objective = objective;
      const SearchResult result = search(problem, {});
      const ErrorShares best = error_shares(problem, *result.winner);
      const auto value = [&](const Score& s) {
        return objective == Objective::Tpot   ? s.tpot_s
               : objective == Objective::Ttft ? s.ttft_s
                                              : 1 / s.tokens_per_s_per_gpu();
      };
      std::size_t within = 0;
      for (const StrategyFamily& family : result.families) {
        if (!family.best || describe(*family.best) == describe(*result.winner)) continue;
        const double error = difference_error(best, error_shares(problem, *family.best));
        const double behind = std::log(value(family.best->score) / value(result.winner->score));
        behind <= error ? ++within : ++decided;
      }
      const auto found = undecided(problem, result);
      EXPECT_EQ(found.size(), within);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_LE(found[i].behind, found[i].error);
        if (i > 0) {
          EXPECT_GE(found[i].behind, found[i - 1].behind);
        }
      }
      listed += static_cast<int>(found.size());
    }
  }
  EXPECT_GT(listed, 3);
  EXPECT_GT(decided, 3);
}

TEST(Undecided, AShortlistHasItsOwnRule) {
  const Problem problem = problem_of("deepseek-v3", "h200-sxm", 32);
  EXPECT_FALSE(undecided(problem, search(problem, {})).empty());
  EXPECT_TRUE(undecided(problem, search(problem, {1, false, 4})).empty());
}

TEST(Undecided, SaysNothingWhereAllServeWhatArrives) {
  Problem problem = problem_of("qwen3-30b-a3b", "h200-sxm", 4);
  problem.workload.rate_per_s = 2;
  const SearchResult result = search(problem, {});
  ASSERT_TRUE(result.winner.has_value());
  EXPECT_TRUE(undecided(problem, result).empty());
}

}  // namespace
}  // namespace pentafold
