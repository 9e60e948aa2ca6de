// Percentiles against their definition and against each other.
#include "report/percentiles.h"

#include <gtest/gtest.h>

namespace pentafold {
namespace {

TEST(Percentiles, AreNumpysDefault) {
  // numpy.percentile([15, 20, 35, 40, 50], [0, 5, 30, 40, 50, 99, 100]).
  const std::vector<double> values = {15, 20, 35, 40, 50};
  const double percent[] = {0, 5, 30, 40, 50, 99, 100};
  const double wanted[] = {15, 16, 23, 29, 35, 49.6, 50};
  for (int i = 0; i < 7; ++i) EXPECT_DOUBLE_EQ(percentile(values, percent[i]), wanted[i]);
  EXPECT_EQ(percentile({}, 50), 0.0);
  EXPECT_EQ(percentile(std::vector<double>{7}, 99), 7.0);
}

TEST(Percentiles, OrderDoesNotMatter) {
  const Distribution found = distribution_of({3, 1, 2});
  EXPECT_EQ(found.n, 3);
  EXPECT_EQ(found.mean, 2.0);
  EXPECT_EQ(found.p50, 2.0);
  EXPECT_DOUBLE_EQ(found.p90, 2.8);
  EXPECT_EQ(distribution_of({}).n, 0);
}

}  // namespace
}  // namespace pentafold
