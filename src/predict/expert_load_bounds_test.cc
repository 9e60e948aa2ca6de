// What ExpertLoad says where one can count by hand, and where it must vanish or be exact.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "predict/expert_load.h"
#include "spec/load_shape.h"

namespace pentafold {
namespace {

// Exact where one can count: of two rows that both pick the only expert, one fits.
TEST(ExpertLoadBounds, OverflowOfAFewRows) {
  EXPECT_DOUBLE_EQ(ExpertLoad(1, 1, 0).overflow(2, 0.5), 0.5);
  EXPECT_DOUBLE_EQ(ExpertLoad(1, 1, 0).overflow(2, 1), 0);
  // Two experts, two rows, room for one each: both rows meet with probability 1/2.
  EXPECT_NEAR(ExpertLoad(2, 1, 0).overflow(2, 1), 0.25, 1e-12);
  // Three rows over two experts with room for one (ceil 0.9): 3 meet with 1/4, 2 and 1 with 3/4.
  EXPECT_NEAR(ExpertLoad(2, 1, 0).overflow(3, 0.6), (0.25 * 2 + 0.75 * 1) / 3, 1e-12);
  EXPECT_EQ(ExpertLoad(8, 2, 0.5).overflow(0, 1), 0);
}

TEST(ExpertLoadBounds, OverflowFallsWithCapacityAndVanishes) {
  for (const double skew : {0.0, 0.8, 2.0}) {
    const ExpertLoad load(64, 6, skew);
    for (const std::int64_t rows : {1, 10, 1000, 100'000}) {
      double was = 1;
      for (double factor = 0.25; factor < 12; factor *= 1.5) {
        const double is = load.overflow(rows, factor);
        EXPECT_LE(is, was + 1e-12);
        EXPECT_GE(is, std::max(0.0, 1 - factor * 1.0001 - 64.0 / static_cast<double>(rows * 6)));
        was = is;
      }
      EXPECT_EQ(load.overflow(rows, 64), 0) << "room for every row";
    }
  }
}

// Uniform choice: of a rank's visits, those to its own group stay.
TEST(ExpertLoadBounds, DispatchLeavesOutTheOwnGroup) {
  for (const std::int64_t ep : {1, 2, 8, 64}) {
    const auto groups = static_cast<double>(ep);
    const ExpertLoad load(64, 1, 0);
    const ExpertLoad::Dispatch all = load.dispatch(64000, ep, 64 / ep, 1);
    EXPECT_NEAR(all.sent, 64000 / groups * (groups - 1) / groups, 1e-6);
    // The busiest by chance only.
    EXPECT_GE(all.received * (1 + 1e-9), all.sent);
    EXPECT_LE(all.received, all.sent * 1.11);
  }
}

// One sequence of Mixtral reads 2 of the 8 experts, wherever they lie, and a group has at most
// those.
TEST(ExpertLoadBounds, OneSequenceOfMixtralReadsTwoExperts) {
  const ModelShape model = load_shape("mixtral-8x7b").value().model;
  for (const double skew : {0.0, 1.0}) {
    const ExpertLoad load = expert_load(model, 0, {100, 10, {}, {}, skew});
    EXPECT_NEAR(load.busiest(1, 1, 8, 1).experts, 2, 1e-9);
    for (const std::int64_t ep : {2, 4, 8}) {
      EXPECT_LE(load.busiest(1, ep, 8 / ep, load.peak_share(ep, 0)).experts, 2);
    }
  }
}

// The means of slices that stand for the shares are near the shares.
TEST(ExpertLoadBounds, PoolingTheSharesHardlyMatters) {
  for (const double skew : {0.3, 0.8, 1.5}) {
    const std::vector<double> share = power_law_profile(384, 8, skew).layers.front();
    const ExpertLoad load(384, 8, skew);
    for (double rows = 1; rows < 1e5; rows *= 3) {
      double touched = 0;
      for (const double s : share) touched += 1 - std::pow(1 - std::min(1.0, 8 * s), rows);
      EXPECT_NEAR(load.busiest(rows, 1, 384, 1).experts / touched, 1, 0.005) << rows;
    }
  }
}

}  // namespace
}  // namespace pentafold
