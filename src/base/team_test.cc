#include "base/team.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

namespace pentafold {
namespace {

// Each part writes its own place: every part ran, and ran once.
TEST(Team, EveryPartRunsOnce) {
  for (const std::int64_t size : {1, 2, 3, 8}) {
    Team team(size);
    EXPECT_EQ(team.size(), size);
    for (std::int64_t parts = 0; parts < 40; ++parts) {
      std::vector<int> count(static_cast<std::size_t>(parts));
      team.run(parts, [&](std::int64_t part) { ++count[static_cast<std::size_t>(part)]; });
      EXPECT_EQ(count, std::vector<int>(static_cast<std::size_t>(parts), 1)) << size;
    }
  }
}

// What a run wrote is seen by the next one, whoever takes its parts.
TEST(Team, RunsFollowEachOther) {
  Team team(4);
  std::vector<std::int64_t> values(64, 0);
  for (int round = 0; round < 2000; ++round) {
    team.run(64, [&](std::int64_t part) { values[static_cast<std::size_t>(part)] += part; });
    team.run(1, [&](std::int64_t) { values[0] += 1; });
  }
  EXPECT_EQ(values[0], 2000);
  for (std::int64_t i = 1; i < 64; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], 2000 * i);
}

// A part that waits for another one ends only if two threads are at it.
TEST(Team, PartsRunAtTheSameTime) {
  Team team(2);
  std::atomic<int> here{0};
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  team.run(2, [&](std::int64_t) {
    ++here;
    while (here.load() < 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  });
  EXPECT_EQ(here.load(), 2);
}

TEST(Team, HelpersWakeFromSleep) {
  Team team(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(10 * kPatience);
    std::atomic<std::int64_t> sum{0};
    team.run(100, [&](std::int64_t part) { sum += part; });
    EXPECT_EQ(sum.load(), 4950);
  }
}

// Many teams on few cores, as many ranks are.
TEST(Team, TeamsShareCores) {
  std::vector<std::int64_t> sums(16, 0);
  {
    std::vector<std::jthread> ranks;
    for (std::int64_t& sum : sums) {
      ranks.emplace_back([&sum] {
        Team team(4);
        for (int round = 0; round < 50; ++round) {
          std::vector<std::int64_t> parts(8);
          team.run(8, [&](std::int64_t part) { parts[static_cast<std::size_t>(part)] = part; });
          sum += std::accumulate(parts.begin(), parts.end(), std::int64_t{0});
        }
      });
    }
  }
  for (const std::int64_t sum : sums) EXPECT_EQ(sum, 50 * 28);
}

TEST(Patience, EndsWhereThreadsExceedCores) {
  const BusyThreads crowd(usable_cores() + 1);
  EXPECT_FALSE(cores_suffice());
  int looks = 0;
  EXPECT_FALSE(look_out([&] { return ++looks > 1; }));
  EXPECT_EQ(looks, 1);
}

}  // namespace
}  // namespace pentafold
