#include "planner/why.h"

#include <gtest/gtest.h>

#include "planner/lattice.h"
#include "planner/test_problems.h"

namespace pentafold {
namespace {

// With every limit named, so that each has a certificate; loose enough to fail nothing.
Problem with_all_limits(std::uint64_t seed) {
  Problem problem = draw_problem(seed);
  problem.workload.batch = std::nullopt;
  problem.workload.rate_per_s = std::nullopt;
  problem.targets.ttft_s = 1e9;
  problem.targets.tpot_s = 1e9;
  problem.targets.tokens_per_s_per_gpu = 1e-9;
  problem.targets.prefill_tokens_per_s_per_gpu = 1e-9;
  return problem;
}

TEST(Why, NoWorkerOfTheLatticeBeatsACertificate) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Problem problem = with_all_limits(seed);
    const auto bounds = certificates(problem);
    const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
    for_each_worker(problem, problem.precisions[0], Role::Both, [&](const Worker& worker) {
      const WorkerPrediction found = predict_worker(costs, worker, Role::Both);
      const auto gpus = static_cast<double>(worker.gpus());
      for (const Certificate& bound : bounds) {
        const double least = bound.bound * (1 - 1e-9);
        const double most = bound.bound * (1 + 1e-9);
        switch (bound.limit) {
          case Limit::Memory:
            ASSERT_GE(found.memory.total(), least) << seed << " " << describe(worker);
            break;
          case Limit::Ttft:
            ASSERT_GE(found.rates.ttft_s, least) << seed << " " << describe(worker);
            break;
          case Limit::Tpot:
            ASSERT_GE(found.rates.tpot_s, least) << seed << " " << describe(worker);
            break;
          case Limit::TokensPerGpu:
            ASSERT_LE(found.rates.tokens_per_s / gpus, most) << seed << " " << describe(worker);
            break;
          case Limit::PrefillTokensPerGpu:
            ASSERT_LE(found.rates.prefill_tokens_per_s / gpus, most)
                << seed << " " << describe(worker);
            break;
          default:
            FAIL() << to_string(bound.limit);
        }
      }
    });
  }
}

TEST(Why, ABoundThatProvesMeansThatNothingIsFound) {
  int proofs = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Problem problem = draw_problem(seed);
    for (const Certificate& bound : certificates(problem)) {
      if (!bound.proves()) continue;
      ++proofs;
      EXPECT_FALSE(search(problem, {}).winner.has_value()) << seed << ": " << sentence(bound);
    }
  }
  EXPECT_GT(proofs, 10);
}

TEST(Why, EveryRelaxationDoesWhenItIsApplied) {
  int applied = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Problem problem = draw_problem(seed);
    const SearchResult result = search(problem, {});
    if (result.winner) continue;
    for (const Relaxation& relaxation : why_not(problem, result, {}).relaxations) {
      ++applied;
      EXPECT_TRUE(search(relaxation.problem, {}).winner.has_value())
          << seed << ": " << relaxation.change;
      // What is printed is what was tried: targets survive being read back.
      if (!relaxation.option.starts_with("--target ")) continue;
      const auto targets = parse_targets(relaxation.option.substr(9));
      ASSERT_TRUE(targets.ok()) << relaxation.option << ": " << targets.error().message;
      Problem again = problem;
      again.targets = *targets;
      EXPECT_TRUE(search(again, {}).winner.has_value()) << seed << ": " << relaxation.option;
    }
  }
  EXPECT_GT(applied, 40);
}

// The fewest GPUs are enough, and one stage size less is not.
TEST(Why, FewestGpusAreFewest) {
  int found = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Problem problem = draw_problem(seed);
    problem.cluster.gpus = 0;
    problem.targets.objective = Objective::Gpus;
    const auto fewest = fewest_gpus(problem, {});
    const auto winner = search(problem, {}).winner;
    ASSERT_EQ(fewest.has_value(), winner.has_value()) << seed;
    if (!fewest) continue;
    ++found;
    EXPECT_EQ(*fewest, winner->score.gpus) << seed;
  }
  EXPECT_GT(found, 20);
}

}  // namespace
}  // namespace pentafold
