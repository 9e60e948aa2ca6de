#include "predict/simulate_summary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace pentafold {
namespace {

TEST(Distribution, InterpolatesBetweenRanks) {
  const Distribution d = distribution_of({4, 1, 3, 2});
  EXPECT_EQ(d.n, 4);
  EXPECT_DOUBLE_EQ(d.mean, 2.5);
  EXPECT_DOUBLE_EQ(d.p50, 2.5);
  EXPECT_DOUBLE_EQ(d.p90, 3.7);
  EXPECT_EQ(distribution_of({7}).p99, 7);
  EXPECT_EQ(distribution_of({}).n, 0);
}

TEST(GapHistogram, QuantilesAreWithinABucket) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    GapHistogram histogram;
    std::vector<double> values;
    for (int i = 0; i < 500; ++i) {
      const double value = std::exp(static_cast<double>(random() % 1000) / 50 - 14);
      const std::int64_t count = 1 + random() % 4;
      histogram.add(value, count);
      values.insert(values.end(), static_cast<std::size_t>(count), value);
    }
    std::sort(values.begin(), values.end());
    for (const double share : {0.1, 0.5, 0.9, 0.99, 1.0}) {
      const auto rank =
          static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
      const double exact = values[rank - 1];
      EXPECT_NEAR(histogram.quantile(share), exact, 0.008 * exact);
    }
    EXPECT_EQ(histogram.total(), std::ssize(values));
  }
}

TEST(GapHistogram, TheShortestAndTheLongestHaveAPlace) {
  GapHistogram histogram;
  histogram.add(0, 3);
  EXPECT_EQ(histogram.quantile(0.5), 0);
  histogram.add(1e30, 7);
  EXPECT_GT(histogram.quantile(0.5), 1e8);
}

TEST(Summary, CountsRatesAndGoodput) {
  const auto outcome = [](double arrival, double first, double finish, std::int32_t output) {
    RequestOutcome o;
    o.arrival_s = arrival;
    o.scheduled_s = arrival;
    o.first_token_s = first;
    o.finish_s = finish;
    o.prompt = 10;
    o.output = output;
    return o;
  };
  std::vector<RequestOutcome> outcomes = {outcome(2, 3, 5, 5), outcome(4, 8, 12, 5),
                                          outcome(4, 5, 5, 1)};
  RequestOutcome refused;
  refused.rejected = true;
  outcomes.push_back(refused);
  ServiceTargets targets;
  targets.ttft_s = 2;
  const ServiceSummary s = summarize(outcomes, {}, targets, 4);
  EXPECT_EQ(s.finished, 3);
  EXPECT_EQ(s.rejected, 1);
  EXPECT_DOUBLE_EQ(s.duration_s, 10);
  EXPECT_DOUBLE_EQ(s.requests_per_s, 0.3);
  EXPECT_DOUBLE_EQ(s.output_tokens_per_s, 1.1);
  EXPECT_DOUBLE_EQ(s.output_tokens_per_s_per_gpu, 1.1 / 4);
  EXPECT_DOUBLE_EQ(s.total_tokens_per_s, 4.1);
  EXPECT_EQ(s.tpot.n, 2) << "one token has no gap";
  EXPECT_DOUBLE_EQ(s.tpot.mean, 0.75);
  EXPECT_EQ(s.good, 2);
  EXPECT_DOUBLE_EQ(s.goodput_per_s, 0.2);
}

}  // namespace
}  // namespace pentafold
