#include "base/canonical_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/random.h"

namespace pentafold {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

double relative_error(float x) {
  const double exact = std::exp(static_cast<double>(x));
  return std::fabs(canonical_exp(x) - exact) / exact;
}

TEST(CanonicalExp, IsWithinTwoToTheMinus21) {
  double worst = 0.0;
  for (std::int64_t i = -87'000'000; i <= 88'000'000; i += 37) {
    worst = std::max(worst, relative_error(static_cast<float>(i) * 1e-6F));
  }
  EXPECT_LT(worst, 0x1.0p-21);
}

TEST(CanonicalExp, IsAccurateOnEveryExponent) {
  std::uint64_t seed = 0;
  for (std::uint32_t exponent = 0; exponent < 255; ++exponent) {
    for (int i = 0; i < 2000; ++i) {
      const auto bits = static_cast<std::uint32_t>(mix64(++seed)) & 0x807FFFFFU;
      const auto x = std::bit_cast<float>(bits | (exponent << 23));
      if (x < ExpConstants::kLow) {
        ASSERT_EQ(canonical_exp(x), 0.0F) << x;
      } else if (x > ExpConstants::kHigh) {
        ASSERT_EQ(canonical_exp(x), canonical_exp(ExpConstants::kHigh)) << x;
      } else {
        ASSERT_LT(relative_error(x), 0x1.0p-21) << x;
      }
    }
  }
}

TEST(CanonicalExp, Edges) {
  EXPECT_EQ(canonical_exp(0.0F), 1.0F);
  EXPECT_EQ(canonical_exp(-0.0F), 1.0F);
  EXPECT_EQ(canonical_exp(-kInfinity), 0.0F);
  EXPECT_EQ(canonical_exp(std::nextafter(-87.0F, -88.0F)), 0.0F);
  EXPECT_GE(canonical_exp(-87.0F), std::numeric_limits<float>::min());
  EXPECT_EQ(canonical_exp(kInfinity), canonical_exp(88.0F));
  EXPECT_TRUE(std::isfinite(canonical_exp(88.0F)));
  EXPECT_TRUE(std::isnan(canonical_exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(CanonicalExp, NeverFallsByMoreThanItsError) {
  float before = canonical_exp(-20.0F);
  for (std::int64_t i = -2'000'000; i < 2'000'000; ++i) {
    const float now = canonical_exp(static_cast<float>(i) * 1e-5F);
    ASSERT_GE(now, before * (1.0F - 0x1.0p-20F)) << i;
    before = now;
  }
}

TEST(CanonicalSilu, MatchesItsDefinition) {
  for (int i = -80'000; i <= 80'000; ++i) {
    const float x = static_cast<float>(i) * 1e-3F;
    const double sigmoid = 1.0 / (1.0 + std::exp(-static_cast<double>(x)));
    ASSERT_NEAR(canonical_sigmoid(x) / sigmoid, 1.0, 0x1.0p-20) << x;
    if (x != 0.0F) {
      ASSERT_NEAR(canonical_silu(x) / (x * sigmoid), 1.0, 0x1.0p-20) << x;
    }
  }
  EXPECT_EQ(canonical_silu(0.0F), 0.0F);
}

}  // namespace
}  // namespace pentafold
