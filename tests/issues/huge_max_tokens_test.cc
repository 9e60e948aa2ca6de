// A request for nearly 2^63 tokens overflowed the block count, was accepted, and the first step
// ended the process: it found nothing to run.
#include <gtest/gtest.h>

#include <limits>

#include "policy/scheduler.h"

namespace pentafold {
namespace {

TEST(Issues, ARequestForMoreTokensThanThereAreIsRefused) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  for (const std::int64_t tokens : {kMost, kMost - 3, kMost - 20, kMost / 2}) {
    Scheduler scheduler({1, 4, 8, 16, 1});
    const Status refused = scheduler.add({RequestId(0), {1, 2, 3, 4}, tokens, {}});
    ASSERT_FALSE(refused.ok()) << tokens;
    EXPECT_EQ(refused.error().code, ErrorCode::OutOfMemory);
    EXPECT_TRUE(scheduler.done());
  }
}

}  // namespace
}  // namespace pentafold
