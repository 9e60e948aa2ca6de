#include "policy/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <vector>

namespace pentafold {
namespace {

std::vector<float> random_logits(std::uint32_t seed, std::size_t vocab) {
  std::mt19937 random(seed);
  std::vector<float> out;
  for (std::size_t i = 0; i < vocab; ++i) {
    out.push_back(static_cast<float>(static_cast<int>(random() % 41) - 20) * 0.1F);
  }
  return out;
}

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) {
  EXPECT_EQ(sample_token(std::vector<float>{1, 3, 2, 3}, {}, 0, 0), 1);
  EXPECT_EQ(sample_token(std::vector<float>(5, -2.0F), {}, 7, 9), 0);
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    const std::vector<float> logits = random_logits(seed, 1 + seed % 40);
    std::size_t best = 0;
    for (std::size_t i = 1; i < logits.size(); ++i) {
      if (logits[i] > logits[best]) best = i;
    }
    EXPECT_EQ(sample_token(logits, {}, seed, seed), static_cast<std::int32_t>(best));
  }
}

// A model that went wrong still says the same under every plan.
TEST(Sampler, GreedyPassesOverNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::size_t size : {1U, 5U, 16U, 40U}) {
    std::vector<float> logits(size, nan);
    EXPECT_EQ(sample_token(logits, {}, 0, 0), 0);
    for (std::size_t at = 0; at < size; ++at) {
      logits[at] = -3.0F;
      EXPECT_EQ(sample_token(logits, {}, 0, 0), static_cast<std::int32_t>(at));
      logits[at] = nan;
    }
  }
}

TEST(Sampler, OneCandidateIsGreedy) {
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    const std::vector<float> logits = random_logits(seed, 30);
    const std::int32_t greedy = sample_token(logits, {}, 0, 0);
    EXPECT_EQ(sample_token(logits, {1.3, 1, 1.0, seed}, seed, 4), greedy);
    EXPECT_EQ(sample_token(logits, {1.3, 0, 1e-9, seed}, seed, 4), greedy);
    EXPECT_EQ(sample_token(logits, {1.3, 0, 0.0, seed}, seed, 4), greedy);
  }
}

// The distribution the header describes, from its definition: sort, cut, softmax, cut.
std::map<std::int32_t, double> distribution(const std::vector<float>& logits,
                                            const SamplingOptions& options) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)];
    const float y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
  if (options.top_k > 0 && options.top_k < std::ssize(order)) {
    order.resize(static_cast<std::size_t>(options.top_k));
  }
  double all = 0;
  for (const std::int32_t id : order) {
    all +=
        std::exp(static_cast<double>(logits[static_cast<std::size_t>(id)]) / options.temperature);
  }
  std::map<std::int32_t, double> out;
  double kept = 0;
  for (const std::int32_t id : order) {
    if (!out.empty() && kept >= options.top_p) break;
    const double p =
        std::exp(static_cast<double>(logits[static_cast<std::size_t>(id)]) / options.temperature) /
        all;
    out[id] = p;
    kept += p;
  }
  for (auto& [id, p] : out) p /= kept;
  return out;
}

// Pearson's statistic over 20,000 draws; the bound is five standard deviations above the mean of a
// chi-square with that many degrees of freedom, and the seed is fixed.
TEST(Sampler, DrawsFollowTheDistribution) {
  constexpr int kDraws = 20000;
  const std::vector<float> logits{0.5F, 2.0F, -1.0F, 2.0F, 0.0F, 1.0F, -0.5F, 0.25F};
  for (const SamplingOptions& options : {SamplingOptions{1.0, 0, 1.0, 11},
                                         {0.7, 0, 1.0, 12},
                                         {2.5, 0, 1.0, 13},
                                         {1.0, 3, 1.0, 14},
                                         {1.0, 0, 0.8, 15},
                                         {1.5, 5, 0.9, 16}}) {
    const std::map<std::int32_t, double> wanted = distribution(logits, options);
    std::map<std::int32_t, int> got;
    for (int i = 0; i < kDraws; ++i) {
      ++got[sample_token(logits, options, static_cast<std::uint32_t>(i % 100),
                         static_cast<std::uint32_t>(i / 100))];
    }
    double statistic = 0;
    for (const auto& [id, count] : got) ASSERT_TRUE(wanted.contains(id)) << id << " was cut off";
    for (const auto& [id, p] : wanted) {
      const double expected = p * kDraws;
      statistic += (got[id] - expected) * (got[id] - expected) / expected;
    }
    const double freedom = static_cast<double>(wanted.size()) - 1;
    EXPECT_LT(statistic, freedom + 5 * std::sqrt(2 * freedom))
        << "temperature " << options.temperature;
  }
}

// Draws for one key again and in any order are the same; another seed, request or position gives
// another draw (on some of many).
TEST(Sampler, IsAFunctionOfTheKeyOnly) {
  const std::vector<float> logits = random_logits(3, 50);
  const SamplingOptions options{1.0, 0, 1.0, 5};
  SamplingOptions other = options;
  other.seed = 6;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::int32_t> first;
  for (std::uint32_t r = 0; r < 20; ++r) {
    for (std::uint32_t p = 0; p < 20; ++p) first[{r, p}] = sample_token(logits, options, r, p);
  }
  int by_seed = 0;
  int by_request = 0;
  int by_position = 0;
  for (auto at = first.rbegin(); at != first.rend(); ++at) {
    const auto [r, p] = at->first;
    EXPECT_EQ(sample_token(logits, options, r, p), at->second);
    by_seed += sample_token(logits, other, r, p) != at->second;
    by_request += sample_token(logits, options, r + 100, p) != at->second;
    by_position += sample_token(logits, options, r, p + 100) != at->second;
  }
  EXPECT_GT(by_seed, 200);
  EXPECT_GT(by_request, 200);
  EXPECT_GT(by_position, 200);
}

TEST(Sampler, BrokenLogitsStillNameAToken) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const std::vector<float>& logits :
       {std::vector<float>{nan, nan, nan}, {1, nan, 2}, {inf, 1, inf}, {-inf, -inf, -inf}, {5}}) {
    for (const SamplingOptions& options :
         {SamplingOptions{}, {1.0, 0, 1.0, 1}, {1e-300, 2, 0.5, 1}, {1e300, 0, 0.5, 1}}) {
      const std::int32_t token = sample_token(logits, options, 1, 2);
      EXPECT_GE(token, 0);
      EXPECT_LT(token, std::ssize(logits));
    }
  }
}

}  // namespace
}  // namespace pentafold
