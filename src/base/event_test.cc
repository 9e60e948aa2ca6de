#include "base/event.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace pentafold {
namespace {

using std::chrono::milliseconds;

TEST(Event, TimeEnds) {
  Event event;
  const auto from = Event::Clock::now();
  EXPECT_FALSE(event.wait_until(from + milliseconds(30), [] { return false; }));
  EXPECT_GE(Event::Clock::now() - from, milliseconds(30));
  EXPECT_TRUE(event.wait_until(from, [] { return true; })) << "ready counts after the deadline";
}

// Two threads hand a number back and forth: a lost wake-up would end in the deadline.
TEST(Event, NoAnnouncementIsLost) {
  Event event;
  std::atomic<int> turn{0};
  constexpr int kTurns = 20000;
  const auto deadline = Event::Clock::now() + std::chrono::minutes(2);
  const auto play = [&](int parity) {
    for (int i = parity; i < kTurns; i += 2) {
      if (!event.wait_until(deadline, [&] { return turn.load() == i; })) return;
      ++turn;
      event.announce();
    }
  };
  std::jthread other([&] { play(1); });
  play(0);
  other.join();
  EXPECT_EQ(turn.load(), kTurns);
}

TEST(Event, AllSleepersWake) {
  Event event;
  std::atomic<bool> go{false};
  std::atomic<int> woken{0};
  {
    std::vector<std::jthread> sleepers;
    for (int i = 0; i < 16; ++i) {
      sleepers.emplace_back([&] {
        const auto deadline = Event::Clock::now() + std::chrono::minutes(2);
        if (event.wait_until(deadline, [&] { return go.load(); })) ++woken;
      });
    }
    std::this_thread::sleep_for(milliseconds(20));
    go = true;
    event.announce();
  }
  EXPECT_EQ(woken.load(), 16);
}

}  // namespace
}  // namespace pentafold
