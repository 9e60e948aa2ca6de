#include "report/error_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace pentafold {
namespace {

ErrorSample sample(double measured, double predicted, double spread = 0) {
  return {measured, predicted, predicted - spread, predicted + spread};
}

TEST(ErrorStats, ArithmeticByHand) {
  // Errors 0.1, 0.2, 0.5, signed +0.1, -0.2, +0.5.
  const std::vector<ErrorSample> rows = {sample(10, 11, 1), sample(10, 8, 1), sample(10, 15, 5)};
  const ErrorStats stats = error_stats(rows);
  EXPECT_EQ(stats.n, 3);
  EXPECT_NEAR(stats.mean, 0.8 / 3, 1e-12);
  EXPECT_NEAR(stats.median, 0.2, 1e-12);
  EXPECT_NEAR(stats.p90, 0.2 + 0.8 * 0.3, 1e-12);
  EXPECT_NEAR(stats.bias, 0.4 / 3, 1e-12);
  EXPECT_NEAR(stats.covered, 2.0 / 3, 1e-12) << "both ends of an interval belong to it";
}

TEST(ErrorStats, NoneIsNoError) {
  const ErrorStats stats = error_stats({});
  EXPECT_EQ(stats.n, 0);
  EXPECT_EQ(stats.mean, 0);
  EXPECT_EQ(quantile({}, 0.5), 0);
}

TEST(ErrorStats, DoesNotKnowUnitsOrOrder) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> value(0.5, 2);
  std::vector<ErrorSample> rows;
  for (int i = 0; i < 101; ++i) rows.push_back(sample(value(random), value(random), 0.1));
  const ErrorStats one = error_stats(rows);
  for (ErrorSample& s : rows) s = {s.measured * 8, s.predicted * 8, s.low * 8, s.high * 8};
  std::ranges::shuffle(rows, random);
  const ErrorStats other = error_stats(rows);
  EXPECT_NEAR(one.mean, other.mean, 1e-12);
  EXPECT_NEAR(one.bias, other.bias, 1e-12);
  EXPECT_EQ(one.median, other.median);
  EXPECT_EQ(one.p90, other.p90);
  EXPECT_EQ(one.covered, other.covered);
  EXPECT_LE(std::abs(one.bias), one.mean);
}

PairSample point(const char* job, const char* layout, double measured, double predicted) {
  return {job, layout, measured, predicted};
}

TEST(PairOrder, CountsPairsOfOneJobOnly) {
  const std::vector<PairSample> rows = {point("a", "tp8", 10, 20), point("a", "tp4", 20, 30),
                                        point("a", "ep8", 30, 25), point("b", "tp8", 100, 1),
                                        point("b", "tp4", 50, 2)};
  const PairOrder order = pair_order(rows);
  EXPECT_EQ(order.of, 4);     // three of a, one of b
  EXPECT_EQ(order.right, 2);  // tp8 < tp4 and tp8 < ep8 of a
}

TEST(PairOrder, LeavesTiesOfTheMeasurementOutAndCountsThoseOfThePredictionWrong) {
  EXPECT_EQ(pair_order(std::vector{point("a", "x", 100, 1), point("a", "y", 101, 2)}).of, 0);
  const PairOrder tied = pair_order(std::vector{point("a", "x", 100, 1), point("a", "y", 110, 1)});
  EXPECT_EQ(tied.of, 1);
  EXPECT_EQ(tied.right, 0);
}

TEST(PairOrder, ALayoutMeasuredOftenCountsOnceByItsMedian) {
  const std::vector<PairSample> rows = {point("a", "x", 10, 5), point("a", "x", 12, 5),
                                        point("a", "x", 99, 5), point("a", "y", 20, 6)};
  const PairOrder order = pair_order(rows);
  EXPECT_EQ(order.of, 1);
  EXPECT_EQ(order.right, 1);
}

// The better of two is the same one whether less or more is better.
TEST(PairOrder, InversionOfBothSidesChangesNothing) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> value(0.5, 2);
  std::vector<PairSample> rows;
  for (int i = 0; i < 40; ++i) {
    rows.push_back(
        {"j" + std::to_string(i % 4), "l" + std::to_string(i), value(random), value(random)});
  }
  const PairOrder less = pair_order(rows);
  for (PairSample& s : rows) {
    s.measured = 1 / s.measured;
    s.predicted = 1 / s.predicted;
  }
  const PairOrder more = pair_order(rows);
  EXPECT_EQ(less.right, more.right);
  EXPECT_NEAR(static_cast<double>(less.of), static_cast<double>(more.of), 1);
  EXPECT_GT(less.of, 100);
}

TEST(ErrorTable, PrintsPercentAndADashForNothing) {
  ErrorTable table{"by GPU", {"TPOT", "TTFT"}, {}};
  table.rows.push_back({"h200-sxm", {error_stats(std::vector{sample(10, 11, 2)}), {}}});
  const std::string text = format_text(table);
  EXPECT_NE(text.find("by GPU"), std::string::npos);
  EXPECT_NE(text.find("10.0"), std::string::npos);
  EXPECT_NE(text.find("+10.0   100"), std::string::npos) << text;
  EXPECT_NE(text.find(" - "), std::string::npos);
}

}  // namespace
}  // namespace pentafold
