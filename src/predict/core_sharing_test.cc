#include "predict/core_sharing.h"

#include <gtest/gtest.h>

#include <cmath>

namespace pentafold {
namespace {

using Kind = ThreadAction::Kind;

ThreadAction work(double seconds) {
  return {Kind::Work, seconds, 0, 0};
}
ThreadAction meet(double delay, double after = 0) {
  return {Kind::Exchange, after, delay, 0};
}

// `threads` alike.
ThreadPlan alike(std::int64_t threads, std::vector<ThreadAction> actions, std::int64_t cores) {
  return {{static_cast<std::size_t>(threads), std::move(actions)}, {threads}, cores};
}

TEST(CoreSharing, OneThreadTakesTheSumOfItsWork) {
  EXPECT_DOUBLE_EQ(seconds_on_cores(alike(1, {work(1e-4), work(0), work(2e-4)}, 2)), 3e-4);
  EXPECT_DOUBLE_EQ(seconds_on_cores(alike(1, {}, 2)), 0);
}

TEST(CoreSharing, EvenWorkIsSharedEvenly) {
  for (const std::int64_t threads : {2, 4, 8, 16}) {
    EXPECT_NEAR(seconds_on_cores(alike(threads, {work(1e-3)}, 2)),
                1e-3 * static_cast<double>(threads) / 2, 1e-12);
  }
}

TEST(CoreSharing, APhaseTakesTheLongestThreadOrAllWorkOverCores) {
  // One long thread beside short ones; then work that fills both cores.
  EXPECT_NEAR(seconds_on_cores({{{work(5e-3)}, {work(1e-3)}, {work(1e-3)}}, {}, 2}), 5e-3, 1e-12);
  EXPECT_NEAR(seconds_on_cores({{{work(2e-3)}, {work(2e-3)}, {work(2e-3)}}, {}, 2}), 4e-3, 1e-12);
}

TEST(CoreSharing, LongWorkIsCutIntoTimeSlices) {
  // Three long threads on two cores: in slices of 3 ms the cores stay full until the end.
  const double seconds = seconds_on_cores({{{work(1)}, {work(1)}, {work(1)}}, {}, 2});
  EXPECT_NEAR(seconds, 1.5, 4e-3);
}

TEST(CoreSharing, AnExchangeWaitsForTheLastAndThenForTheDelay) {
  const ThreadPlan plan{{{work(1e-3), meet(2e-3, 1e-3)}, {work(2e-3), meet(2e-3, 1e-3)}}, {2}, 2};
  EXPECT_NEAR(seconds_on_cores(plan), 2e-3 + 2e-3 + 1e-3, 1e-12);
}

TEST(CoreSharing, DelaysHideBehindTheWorkOfOtherGroups) {
  // Two groups of two on one core: while one waits, the other works.
  ThreadPlan plan;
  plan.cores = 1;
  plan.group_sizes = {2, 2};
  for (const std::int64_t group : {0, 0, 1, 1}) {
    plan.actions.push_back({work(1e-3), {Kind::Exchange, 1e-3, 1e-3, group}});
  }
  EXPECT_NEAR(seconds_on_cores(plan), 8e-3, 1e-12);
}

TEST(CoreSharing, MessagesKeepTheirOrderAndTheirDelay) {
  const ThreadPlan plan{
      {{work(1e-3), {Kind::Send, 0, 5e-4, 1}, work(1e-3), {Kind::Send, 0, 5e-4, 1}},
       {{Kind::Receive, 1e-3, 0, 0}, {Kind::Receive, 1e-3, 0, 0}}},
      {},
      2};
  EXPECT_NEAR(seconds_on_cores(plan), 2e-3 + 5e-4 + 1e-3, 1e-12);
}

TEST(CoreSharing, WhoWaitsForNobodyNeverEnds) {
  EXPECT_TRUE(std::isinf(seconds_on_cores({{{meet(0)}, {}}, {2}, 2})));
  EXPECT_TRUE(std::isinf(seconds_on_cores({{{{Kind::Receive, 0, 0, 1}}, {}}, {}, 2})));
}

TEST(CoreSharing, MoreWorkIsNeverFaster) {
  double last = 0;
  for (int i = 1; i < 20; ++i) {
    const double seconds = seconds_on_cores(
        {{{work(1e-4 * i), meet(1e-5, 1e-4)}, {work(1e-3), meet(1e-5, 1e-4 * i)}}, {2}, 2});
    EXPECT_GE(seconds, last);
    last = seconds;
  }
}

}  // namespace
}  // namespace pentafold
