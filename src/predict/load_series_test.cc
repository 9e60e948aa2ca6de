#include "predict/load_series.h"

#include <gtest/gtest.h>

#include <random>

namespace pentafold {
namespace {

TEST(LoadSeries, SplitsASegmentOverItsBuckets) {
  LoadSeries series(1);
  series.add(0.5, 3, {2, 4, 10, 1}, 25);
  const auto means = series.means();
  ASSERT_EQ(means.size(), 3U);
  EXPECT_DOUBLE_EQ(means[0].waiting, 1);  // half of the bucket
  EXPECT_DOUBLE_EQ(means[1].running, 4);
  EXPECT_DOUBLE_EQ(means[1].kv_blocks, 20);  // 10 and a growth of 10 a second, at 1.5 s
  EXPECT_DOUBLE_EQ(means[2].kv_blocks, 30);
  EXPECT_DOUBLE_EQ(means[2].busy, 1);
}

// However long it gets, sums over time stay what was added.
TEST(LoadSeries, WideningKeepsTheSums) {
  std::mt19937 random(1);
  LoadSeries series(0.25);
  double now = 0;
  double waited = 0;
  for (int i = 0; i < 20000; ++i) {
    const double to = now + static_cast<double>(random() % 100) / 8;
    const double waiting = random() % 10;
    series.add(now, to, {waiting, 0, 0, 0}, 0);
    waited += waiting * (to - now);
    now = to;
  }
  const auto means = series.means();
  EXPECT_LE(means.size(), LoadSeries::kMostBuckets);
  EXPECT_GT(series.bucket_s(), 0.25);
  double sum = 0;
  for (std::size_t i = 0; i < means.size(); ++i) {
    const double from = static_cast<double>(i) * series.bucket_s();
    sum += means[i].waiting * std::min(series.bucket_s(), now - from);
  }
  EXPECT_NEAR(sum, waited, 1e-6 * waited);
}

}  // namespace
}  // namespace pentafold
