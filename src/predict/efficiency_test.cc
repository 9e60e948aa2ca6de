#include "predict/efficiency.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

namespace pentafold {
namespace {

constexpr std::array<double, 4> kKnots = {-4, -2, -0.5, 0};

TEST(Curve, IsLinearBetweenKnotsAndHeldAtTheEnds) {
  const Curve curve(2, 2, kKnots);
  EXPECT_DOUBLE_EQ(curve(2), -4);
  EXPECT_DOUBLE_EQ(curve(3), -3);
  EXPECT_DOUBLE_EQ(curve(5), -1.25);
  EXPECT_DOUBLE_EQ(curve(8), 0);
  for (const double below : {1.999, 0.0, -50.0, kNothing}) EXPECT_DOUBLE_EQ(curve(below), -4);
  for (const double above : {8.001, 9.0, 1e9}) EXPECT_DOUBLE_EQ(curve(above), 0);
}

TEST(Curve, KnowsItsSlopes) {
  const Curve rising(2, 2, kKnots);
  EXPECT_DOUBLE_EQ(rising.greatest_slope(), 1);
  EXPECT_DOUBLE_EQ(rising.least_slope(), 0);  // the flat ends count
  EXPECT_DOUBLE_EQ(rising.greatest(), 0);
  const Curve falling(0, 1, std::array<double, 2>{-1, -3});
  EXPECT_DOUBLE_EQ(falling.least_slope(), -2);
  EXPECT_DOUBLE_EQ(falling.greatest_slope(), 0);
  EXPECT_DOUBLE_EQ(falling.greatest(), -1);
}

TEST(Curve, OneKnotIsAConstant) {
  const Curve curve(0, 1, std::array<double, 1>{-1.5});
  for (const double x : {-3.0, 0.0, 7.0}) EXPECT_DOUBLE_EQ(curve(x), -1.5);
}

Surface random_surface(std::mt19937_64& random) {
  std::uniform_real_distribution<double> unit(0, 1);
  const auto curve = [&](double least, double greatest) {
    std::vector<double> values = {0};
    for (int i = 0; i < 5; ++i) {
      values.push_back(values.back() + 2 * (least + (greatest - least) * unit(random)));
    }
    const double top = *std::max_element(values.begin(), values.end());
    for (double& v : values) v -= top;
    return Curve(0, 2, values);
  };
  Surface out;
  out.floor = Curve(0, 1, std::array<double, 1>{-18 + 2 * unit(random)});
  for (Curve& side : out.compute) side = curve(-0.3, 1);
  for (Curve& side : out.memory) side = curve(-0.3, 1);
  out.p = 1 + 7 * unit(random);
  out.stream = unit(random);
  return out;
}

TEST(Surface, NeverFallsWithWorkAndNeverBeatsTheRoofline) {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> place(-1, 12);
  std::uniform_real_distribution<double> step(0, 3);
  for (int i = 0; i < 20000; ++i) {
    const Surface surface = random_surface(random);
    Surface::Load load;
    for (double& axis : load.axes) axis = place(random);
    load.work = load.axes[0] + load.axes[1] + load.axes[2] - 40;
    load.traffic = load.axes[0] + load.axes[1] + load.axes[2] - 38;
    const double before = surface.time(load).seconds;
    EXPECT_GE(before, std::exp2(load.work));
    EXPECT_GE(before, std::exp2(load.traffic));
    const double more = step(random);
    load.axes[static_cast<std::size_t>(i) % kAxes] += more;
    load.work += more;
    load.traffic += more;
    EXPECT_GE(surface.time(load).seconds, before * (1 - 1e-12));
    // A better peak or bandwidth is less of either.
    const double now = surface.time(load).seconds;
    load.work -= step(random);
    EXPECT_LE(surface.time(load).seconds, now * (1 + 1e-12));
    load.traffic -= step(random);
    EXPECT_LE(surface.time(load).seconds, now * (1 + 1e-12));
  }
}

TEST(Surface, IsAtItsFloorWithoutWork) {
  Surface surface;
  surface.floor = Curve(0, 1, std::array<double, 1>{-18});
  const Surface::Time empty = surface.time({});
  EXPECT_DOUBLE_EQ(empty.seconds, std::exp2(-18));
  EXPECT_EQ(empty.binding, Binding::Floor);
}

TEST(Surface, NamesTheLargestPart) {
  Surface surface;
  surface.floor = Curve(0, 1, std::array<double, 1>{-18});
  Surface::Load load;
  load.work = -10;
  load.traffic = -12;
  EXPECT_EQ(surface.time(load).binding, Binding::Compute);
  load.traffic = -8;
  EXPECT_EQ(surface.time(load).binding, Binding::Memory);
  load.work = load.traffic = -30;
  EXPECT_EQ(surface.time(load).binding, Binding::Floor);
}

TEST(Surface, CoversItsMeasuredBox) {
  Surface surface;
  surface.from = {0, 1, 2};
  surface.to = {3, 4, 5};
  EXPECT_TRUE(surface.covers({0, 4, 3}));
  EXPECT_FALSE(surface.covers({-0.1, 4, 3}));
  EXPECT_FALSE(surface.covers({0, 4.1, 3}));
  EXPECT_FALSE(surface.covers({0, 4, kNothing}));
}

}  // namespace
}  // namespace pentafold
