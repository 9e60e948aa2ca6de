// fixed_log and fixed_exp against libm, and bits that must be the same everywhere.
#include "base/elementary.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <limits>

#include "base/random.h"

namespace pentafold {
namespace {

TEST(Elementary, LogIsWithinAFewUlps) {
  for (std::uint32_t i = 0; i < 20000; ++i) {
    const double x = std::ldexp(0.5 + sample_uniform(1, i, 0) / 2, static_cast<int>(i % 600) - 300);
    const double exact = std::log(x);
    EXPECT_NEAR(fixed_log(x), exact, 4e-16 * std::max(1.0, std::fabs(exact)) + 1e-16) << x;
  }
  EXPECT_EQ(fixed_log(1.0), 0.0);
  EXPECT_NEAR(fixed_log(std::numeric_limits<double>::denorm_min()), std::log(0x1p-1074), 1e-12);
}

TEST(Elementary, ExpIsWithinAFewUlps) {
  for (std::uint32_t i = 0; i < 20000; ++i) {
    const double x = (sample_uniform(2, i, 0) - 0.5) * (i % 2 == 0 ? 1390 : 2);
    EXPECT_NEAR(fixed_exp(x) / std::exp(x), 1, 1e-15) << x;
  }
  EXPECT_EQ(fixed_exp(0), 1.0);
  EXPECT_EQ(fixed_exp(-1e9), 0.0);
  EXPECT_EQ(fixed_exp(1e9), fixed_exp(700));
}

// Each undoes the other, which no common mistake of both would.
TEST(Elementary, LogUndoesExp) {
  for (int i = -6900; i <= 6900; ++i) {
    const double x = i * 0.1;
    EXPECT_NEAR(fixed_log(fixed_exp(x)), x, 4e-16 * std::max(1.0, std::fabs(x))) << x;
  }
}

}  // namespace
}  // namespace pentafold
