#include "base/quantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"

namespace pentafold {
namespace {

std::vector<float> values(std::uint64_t seed, std::int64_t count, float scale) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bits = mix64(seed * 1000 + static_cast<std::uint64_t>(i));
    out.push_back(static_cast<float>(static_cast<double>(bits >> 11) * 0x1.0p-52 - 1.0) * scale);
  }
  return out;
}

TEST(Quantise, IsTheNearestIntegerOfTheLevel) {
  for (const int limit : {7, 127}) {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      const auto count = static_cast<std::int64_t>(1 + mix64(seed) % 130);
      const float magnitude = std::ldexp(1.0F, static_cast<int>(mix64(seed + 7) % 120) - 60);
      const std::vector<float> x = values(seed, count, magnitude);
      std::vector<std::int8_t> q(x.size());
      const float scale = quantise_group(x.data(), count, limit, q.data());
      float largest = 0;
      for (const float value : x) largest = std::max(largest, std::abs(value));
      EXPECT_EQ(scale, largest / static_cast<float>(limit));
      const float inverse = static_cast<float>(limit) / largest;
      bool at_limit = false;
      for (std::size_t i = 0; i < x.size(); ++i) {
        EXPECT_EQ(q[i], std::nearbyint(x[i] * inverse)) << "seed " << seed;
        EXPECT_LE(std::abs(q[i]), limit);
        at_limit = at_limit || std::abs(q[i]) == limit;
        EXPECT_LE(std::abs(x[i] - static_cast<float>(q[i]) * scale), 0.5001F * scale);
      }
      EXPECT_TRUE(at_limit);
    }
  }
}

TEST(Quantise, TiesGoToEven) {
  const std::vector<float> x = {127.0F, 0.5F, 1.5F, 2.5F, -0.5F, -1.5F, -2.5F};
  std::vector<std::int8_t> q(x.size());
  EXPECT_EQ(quantise_group(x.data(), 7, 127, q.data()), 1.0F);
  EXPECT_EQ(q, (std::vector<std::int8_t>{127, 0, 2, 2, 0, -2, -2}));
}

TEST(Quantise, NothingIsZeroAndNoNumberStaysNone) {
  std::vector<float> x(5, 0.0F);
  std::vector<std::int8_t> q(5, 1);
  EXPECT_EQ(quantise_group(x.data(), 5, 127, q.data()), 0.0F);
  EXPECT_EQ(q, std::vector<std::int8_t>(5, 0));
  x[2] = 0x1.0p-101F;
  EXPECT_EQ(quantise_group(x.data(), 5, 127, q.data()), 0.0F);
  x[2] = kSmallestGroup;
  EXPECT_GT(quantise_group(x.data(), 5, 127, q.data()), 0.0F);
  EXPECT_EQ(q[2], 127);
  for (const float bad : {INFINITY, -INFINITY, NAN, -NAN}) {
    x[2] = bad;
    EXPECT_TRUE(std::isnan(quantise_group(x.data(), 5, 127, q.data())));
    EXPECT_EQ(q, std::vector<std::int8_t>(5, 0));
  }
}

TEST(Quantise, GroupsDivideTheirWidth) {
  for (std::int64_t width = 1; width <= 2000; ++width) {
    for (const std::int64_t most : {kLeafGroup, kChainGroup}) {
      const std::int64_t group = group_size(width, most);
      EXPECT_EQ(width % group, 0);
      EXPECT_LE(group, most);
      for (std::int64_t larger = group + 1; larger <= std::min(most, width); ++larger) {
        EXPECT_NE(width % larger, 0);
      }
    }
  }
  EXPECT_EQ(group_bytes({8, 128}, 16), 16 * (128 + 4));
  EXPECT_EQ(group_bytes({4, 20}, 16), 16 * (12 + 4));
}

}  // namespace
}  // namespace pentafold
