#include "kernels/core_limits.h"

#include <gtest/gtest.h>

#include <vector>

namespace pentafold {
namespace {

TEST(CoreLimits, OperationsGrowWithTheRounds) {
  const double one = multiply_add(1);
  EXPECT_GE(one, 2 * 4 * 8);  // eight chains of four lanes, at the least
  EXPECT_EQ(multiply_add(1000), 1000 * one);
  EXPECT_EQ(multiply_add(0), 0);
}

TEST(CoreLimits, AllButATailIsRead) {
  for (const std::size_t size : {0U, 1U, 511U, 512U, 513U, 100'000U}) {
    const std::vector<std::byte> bytes(size);
    const std::int64_t read = read_through(bytes);
    EXPECT_LE(read, std::ssize(bytes));
    EXPECT_GT(read, std::ssize(bytes) - 512);
  }
}

}  // namespace
}  // namespace pentafold
