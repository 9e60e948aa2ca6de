// A rank that came late to a group whose members had timed out was told "the run was stopped" and,
// if it was quicker to say so, the report named no cause.
#include <gtest/gtest.h>

#include "comm/local_world.h"

namespace pentafold {
namespace {

TEST(Issues, ALateMemberLearnsThatThereWasATimeout) {
  LocalWorld world(2, {std::chrono::milliseconds(20)});
  const auto early = world.communicator(Rank(0));
  const auto late = world.communicator(Rank(1));
  const std::vector<Rank> both{Rank(0), Rank(1)};
  const auto group = early->join(both);
  const auto same_group = late->join(both);
  const Status first = early->barrier(*group);
  const Status second = late->barrier(*same_group);
  ASSERT_FALSE(first.ok() || second.ok());
  EXPECT_EQ(first.error().code, ErrorCode::Timeout);
  EXPECT_EQ(second.error().code, ErrorCode::Timeout);
  EXPECT_EQ(second.error().message, first.error().message);
}

}  // namespace
}  // namespace pentafold
