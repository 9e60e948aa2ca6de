#include "planner/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "planner/test_problems.h"

namespace pentafold {
namespace {

// The plain way: every worker of the lattice, priced anew.
std::optional<Deployment> brute_force(const Problem& problem) {
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  std::optional<Deployment> best;
  for_each_worker(problem, problem.precisions[0], Role::Both, [&](const Worker& worker) {
    const WorkerPrediction found = predict_worker(costs, worker, Role::Both);
    std::int64_t replicas = 0;
    const auto score = pool_score(problem, worker, found.rates, &replicas);
    if (!score || first_miss(problem, *score, found.memory.total())) return;
    if (best) {
      const double better = compare(problem, *score, best->score);
      if (better < 0 || (better == 0 && !simpler(worker, best->pools.front().worker))) return;
    }
    best = Deployment{{Pool{worker, replicas, Role::Both}}, *score};
  });
  return best;
}

TEST(Search, FindsTheWinnerOfBruteForce) {
  int winners = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Problem problem = draw_problem(seed);
    const SearchResult found = search(problem, {});
    const auto plain = brute_force(problem);
    ASSERT_EQ(found.winner.has_value(), plain.has_value()) << seed;
    if (!plain) continue;
    ++winners;
    EXPECT_EQ(found.winner->pools[0].worker, plain->pools[0].worker)
        << seed << ": " << describe(*found.winner) << " / " << describe(*plain);
    EXPECT_EQ(found.winner->pools[0].replicas, plain->pools[0].replicas) << seed;
    EXPECT_DOUBLE_EQ(found.winner->score.tpot_s, plain->score.tpot_s) << seed;
    EXPECT_DOUBLE_EQ(found.winner->score.ttft_s, plain->score.ttft_s) << seed;
    EXPECT_DOUBLE_EQ(found.winner->score.tokens_per_s, plain->score.tokens_per_s) << seed;
  }
  EXPECT_GT(winners, 60) << "too few of the problems have an answer to say much";
  EXPECT_LT(winners, 190) << "too few of the problems have none";
}

using Degrees = std::vector<std::int64_t>;
Degrees degrees_of(const Worker& w) {
  return {w.pp(), w.dp, w.sp, w.tp, w.ep, w.etp};
}

// The best score of each combination of degrees, best first, as brute force finds them.
std::vector<Score> best_scores(const Problem& problem) {
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  std::map<Degrees, Score> best;
  for_each_worker(problem, problem.precisions[0], Role::Both, [&](const Worker& worker) {
    const WorkerPrediction found = predict_worker(costs, worker, Role::Both);
    std::int64_t replicas = 0;
    const auto score = pool_score(problem, worker, found.rates, &replicas);
    if (!score || first_miss(problem, *score, found.memory.total())) return;
    const auto [it, fresh] = best.try_emplace(degrees_of(worker), *score);
    if (!fresh && compare(problem, *score, it->second) > 0) it->second = *score;
  });
  std::vector<Score> out;
  for (const auto& [degrees, score] : best) out.push_back(score);
  std::ranges::sort(out,
                    [&](const Score& a, const Score& b) { return compare(problem, a, b) > 0; });
  return out;
}

TEST(Search, TheShortlistIsThatOfBruteForce) {
  std::size_t several = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Problem problem = draw_problem(seed);
    const SearchResult found = search(problem, {1, false, 4});
    const SearchResult plain = search(problem, {});
    ASSERT_EQ(found.winner.has_value(), plain.winner.has_value()) << seed;
    const std::vector<Score> best = best_scores(problem);
    ASSERT_EQ(found.shortlist.size(), std::min<std::size_t>(best.size(), 4)) << seed;
    std::set<Degrees> seen;
    for (std::size_t i = 0; i < found.shortlist.size(); ++i) {
      const Score& score = found.shortlist[i].score;
      EXPECT_NEAR(score.tokens_per_s, best[i].tokens_per_s, 1e-9 * best[i].tokens_per_s) << seed;
      EXPECT_NEAR(score.ttft_s, best[i].ttft_s, 1e-9 * best[i].ttft_s) << seed;
      EXPECT_TRUE(seen.insert(degrees_of(found.shortlist[i].pools[0].worker)).second) << seed;
    }
    several += found.shortlist.size() == 4 ? 1 : 0;
    if (!plain.winner) continue;
    // A list changes nothing else.
    EXPECT_EQ(describe(*found.winner), describe(*plain.winner)) << seed;
    EXPECT_EQ(describe(found.shortlist.front()), describe(*plain.winner)) << seed;
  }
  EXPECT_GT(several, 10U);
}

TEST(Search, CountsTheLatticeThatItCovers) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Problem problem = draw_problem(seed);
    for (const Role role : {Role::Both, Role::Prefill, Role::Decode}) {
      std::int64_t count = 0;
      for_each_worker(problem, problem.precisions[0], role, [&](const Worker& worker) {
        ++count;
        EXPECT_EQ(folding_failure(problem.model, worker), std::nullopt) << describe(worker);
      });
      EXPECT_EQ(lattice_size(problem, role), count) << seed;
    }
  }
}

TEST(Search, ThreadsDoNotChangeTheAnswer) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Problem problem = draw_problem(seed);
    problem.disaggregated = true;
    const SearchResult one = search(problem, {1, true});
    const SearchResult four = search(problem, {4, true});
    ASSERT_EQ(one.winner.has_value(), four.winner.has_value());
    if (one.winner) {
      EXPECT_EQ(describe(*one.winner), describe(*four.winner));
    }
    ASSERT_EQ(one.pareto.size(), four.pareto.size());
    for (std::size_t i = 0; i < one.pareto.size(); ++i) {
      EXPECT_EQ(describe(one.pareto[i]), describe(four.pareto[i]));
    }
    EXPECT_EQ(one.evaluated, four.evaluated);
  }
}

struct HalfOfPair {
  double requests = 0;
  double ttft = 0;
  double tpot = 0;
  std::int64_t gpus = 0;
};

// Workers of one role that hold the limits, at the load that the TTFT allows.
std::vector<HalfOfPair> halves_of(const Problem& problem, Role role) {
  const StepCost costs(problem.model, problem.cluster, problem.engine, problem.workload);
  std::vector<HalfOfPair> halves;
  for_each_worker(problem, problem.precisions[0], role, [&](const Worker& worker) {
    const WorkerPrediction one = predict_worker(costs, worker, role);
    if (one.memory.total() > problem.memory_limit()) return;
    HalfOfPair half{one.rates.requests_per_s, 0, one.rates.tpot_s, worker.gpus()};
    if (role == Role::Prefill) {
      const double alone = one.rates.ttft_s + kv_transfer_seconds(costs, worker);
      const double room = problem.targets.ttft_s.value_or(1e30) - alone;
      if (room < 0) return;
      const double load = std::min(load_for_wait(room, one.rates.service_s), kHighestLoad);
      half.requests *= load;
      half.ttft = std::min(alone + queue_wait_seconds(load, one.rates.service_s),
                           problem.targets.ttft_s.value_or(1e30));
    } else if (problem.targets.tpot_s && half.tpot > *problem.targets.tpot_s) {
      return;
    }
    halves.push_back(half);
  });
  return halves;
}

// The most tokens/s/GPU of any pair and any numbers; 0 if none holds the limits.
double best_pair(const Problem& problem) {
  double best = 0;
  const auto decoders = halves_of(problem, Role::Decode);
  for (const HalfOfPair& p : halves_of(problem, Role::Prefill)) {
    for (const HalfOfPair& d : decoders) {
      for (std::int64_t n = 1; n * p.gpus + d.gpus <= problem.cluster.gpus; ++n) {
        const std::int64_t m = (problem.cluster.gpus - n * p.gpus) / d.gpus;
        Score score;
        score.requests_per_s =
            std::min(static_cast<double>(n) * p.requests, static_cast<double>(m) * d.requests);
        score.tokens_per_s = served_tokens_per_s(problem, score.requests_per_s);
        score.gpus = n * p.gpus + m * d.gpus;
        score.provisioned = problem.cluster.gpus;
        score.ttft_s = p.ttft;
        score.tpot_s = d.tpot;
        if (!first_miss(problem, score, 0)) best = std::max(best, score.tokens_per_s_per_gpu());
      }
    }
  }
  return best;
}

TEST(Search, MatchesPoolsLikeBruteForce) {
  int pairs = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Problem problem = draw_problem(seed);
    if (problem.cluster.gpus < 2 || problem.workload.osl < 2 || problem.workload.batch ||
        problem.targets.objective != Objective::TokensPerSecondPerGpu) {
      continue;
    }
    problem.aggregated = false;
    problem.disaggregated = true;
    const SearchResult found = search(problem, {});
    const double best = best_pair(problem);
    ASSERT_EQ(found.winner.has_value(), best > 0) << seed;
    if (best > 0) {
      ++pairs;
      EXPECT_DOUBLE_EQ(found.winner->score.tokens_per_s_per_gpu(), best) << seed;
    }
  }
  EXPECT_GT(pairs, 8);
}

TEST(Search, NoDeploymentOfTheFrontBeatsAnother) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Problem problem = draw_problem(seed);
    const auto front = search(problem, {1, true}).pareto;
    for (std::size_t i = 1; i < front.size(); ++i) {
      EXPECT_LT(front[i].score.tokens_per_s_per_user(), front[i - 1].score.tokens_per_s_per_user());
      EXPECT_GT(front[i].score.tokens_per_s_per_gpu(), front[i - 1].score.tokens_per_s_per_gpu());
    }
  }
}

// A better fleet never gives a worse answer: grids do not depend on the device.
TEST(Search, BetterDevicesNeverHurt) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Problem problem = draw_problem(seed);
    problem.targets.objective = Objective::TokensPerSecondPerGpu;
    const auto before = search(problem, {}).winner;
    if (!before) continue;
    GpuSpec& gpu = problem.cluster.gpu;
    for (double* figure :
         {&gpu.memory_bytes, &gpu.memory_bytes_per_s, &gpu.bf16_flops,
          &problem.cluster.links[0].bytes_per_s, &problem.cluster.links[1].bytes_per_s}) {
      *figure *= 1.7;
      const auto after = search(problem, {}).winner;
      ASSERT_TRUE(after.has_value()) << seed;
      EXPECT_GE(after->score.tokens_per_s_per_gpu(),
                before->score.tokens_per_s_per_gpu() * (1 - 1e-12))
          << seed;
    }
  }
}

}  // namespace
}  // namespace pentafold
