#include "execute/pinning.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>

namespace pentafold {
namespace {

using Units = std::vector<std::vector<std::int32_t>>;

std::map<std::int32_t, int> uses_of(const Units& dealt) {
  std::map<std::int32_t, int> out;
  for (const auto& rank : dealt) {
    for (const std::int32_t unit : rank) ++out[unit];
  }
  return out;
}

// Every machine of up to three nodes of up to five units, every number of ranks and threads.
TEST(Pinning, UnitsAreSharedEvenlyAndOnlyWhenTheyMustBe) {
  for (std::int32_t code = 0; code < 6 * 6 * 6; ++code) {
    Units nodes;
    std::int32_t unit = 0;
    for (const std::int32_t size : {code % 6, code / 6 % 6, code / 36}) {
      if (size == 0) continue;
      auto& node = nodes.emplace_back();
      for (std::int32_t i = 0; i < size; ++i) node.push_back(unit++);
    }
    if (unit == 0) continue;
    for (std::int64_t ranks = 1; ranks <= 6; ++ranks) {
      for (std::int64_t threads = 1; threads <= 6; ++threads) {
        const Units dealt = deal_units(nodes, ranks, threads);
        ASSERT_EQ(std::ssize(dealt), ranks);
        for (const auto& rank : dealt) ASSERT_EQ(std::ssize(rank), threads);
        const auto uses = uses_of(dealt);
        const std::int64_t even = (ranks * threads + unit - 1) / unit;
        for (const auto& [used, times] : uses) {
          EXPECT_LE(times, even);
          EXPECT_TRUE(used >= 0 && used < unit);
        }
      }
    }
  }
}

TEST(Pinning, ARankStaysOnANodeThatHasRoom) {
  EXPECT_EQ(deal_units({{0, 1, 2}, {3, 4, 5}}, 2, 2), (Units{{0, 1}, {3, 4}}));
  EXPECT_EQ(deal_units({{0, 1, 2}, {3, 4, 5}}, 3, 2), (Units{{0, 1}, {3, 4}, {2, 5}}));
  EXPECT_EQ(deal_units({{0}, {1, 2}}, 1, 2), (Units{{1, 2}}));
  EXPECT_EQ(deal_units({{7, 9}}, 2, 2), (Units{{7, 9}, {7, 9}}));
}

TEST(Pinning, AThreadStaysWhereItIsBound) {
  const auto pinning = Pinning::make(2, 1);
  ASSERT_TRUE(pinning.ok()) << pinning.error().to_string();
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  for (std::int64_t rank = 0; rank < 2; ++rank) {
    std::jthread([&] {
      const Status bound = pinning->bind(rank, 0);
      ASSERT_TRUE(bound.ok()) << bound.error().to_string();
      cpu_set_t mine;
      ASSERT_EQ(sched_getaffinity(0, sizeof mine, &mine), 0);
      EXPECT_EQ(CPU_COUNT(&mine), 1);
      for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        EXPECT_TRUE(!CPU_ISSET(cpu, &mine) || CPU_ISSET(cpu, &before));
      }
    });
  }
  cpu_set_t after;
  ASSERT_EQ(sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

}  // namespace
}  // namespace pentafold
