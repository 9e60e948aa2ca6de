#include "predict/arrival_gate.h"

#include <gtest/gtest.h>

namespace pentafold {
namespace {

// Steps until a request that comes after `before` decode steps is let in, one step at a time.
std::int64_t waited(const ArrivalGate& gate, std::int64_t running, std::int64_t before) {
  ArrivalClock clock(gate);
  for (std::int64_t i = 0; i < before; ++i) {
    clock.opens(running, 0);
    clock.decoded(1, running);
  }
  std::int64_t steps = 0;
  while (!clock.opens(running, 1)) {
    clock.decoded(1, running);
    ++steps;
  }
  return steps;
}

TEST(ArrivalGate, LooksForArrivalsAtMultiplesOfItsInterval) {
  const ArrivalGate gate{30, 10, 0, true};
  for (std::int64_t before = 1; before <= 90; ++before) {
    EXPECT_EQ(waited(gate, 64, before), (30 - before % 30) % 30) << before;
    EXPECT_EQ(waited(gate, 4, before), (10 - before % 10) % 10) << before;
  }
}

TEST(ArrivalGate, NobodyWaitsForAnIdleEngine) {
  ArrivalClock clock({30, 30, 0, true});
  clock.decoded(7, 20);
  EXPECT_FALSE(clock.opens(20, 1));
  EXPECT_TRUE(clock.opens(0, 1));
}

TEST(ArrivalGate, AStepOfPromptsOpensThePollingOneAndStartsTheBalancedOneAnew) {
  ArrivalClock polling({30, 30, 0, true});
  polling.computed_prompts();
  EXPECT_TRUE(polling.opens(20, 1));
  ArrivalClock balanced(balanced_gate(60, 4));
  balanced.decoded(59, 20);
  balanced.computed_prompts();
  balanced.decoded(1, 20);
  EXPECT_FALSE(balanced.opens(20, 1));
}

TEST(ArrivalGate, TheBalancedOneOpensWhenEveryGroupProbablyHasARequest) {
  const ArrivalGate gate = balanced_gate(60, 4);  // 4 (1 + 1/2 + 1/3 + 1/4) = 8.33
  ArrivalClock clock(gate);
  clock.decoded(5, 20);
  EXPECT_FALSE(clock.opens(20, 7));
  EXPECT_EQ(clock.steps_to_opening(20, 7, 3), 55);
  EXPECT_EQ(clock.steps_to_opening(20, 8, 3), 3);
  EXPECT_TRUE(clock.opens(20, 8));
}

TEST(ArrivalGate, JumpingOverStepsIsGoingThemOneByOne) {
  const ArrivalGate gate{7, 3, 0, true};
  for (const std::int64_t running : {2, 40}) {
    for (std::int64_t steps = 1; steps <= 50; ++steps) {
      ArrivalClock one(gate);
      for (std::int64_t i = 0; i < steps; ++i) {
        one.opens(running, 0);
        one.decoded(1, running);
      }
      ArrivalClock many(gate);
      many.decoded(steps, running);
      ASSERT_EQ(one.opens(running, 1), many.opens(running, 1)) << steps;
      EXPECT_EQ(one.steps_to_opening(running, 1, 1), many.steps_to_opening(running, 1, 1)) << steps;
    }
  }
}

}  // namespace
}  // namespace pentafold
