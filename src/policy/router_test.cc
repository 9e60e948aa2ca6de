#include "policy/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace pentafold {
namespace {

TEST(Router, RoundRobinDealsInTurnWhateverTheLoad) {
  Router router(RouterPolicy::RoundRobin, 3);
  for (std::int64_t i = 0; i < 12; ++i) {
    const std::int64_t replica = router.choose(1000 * i, {});
    EXPECT_EQ(replica, i % 3);
    if (i % 2 == 0) router.finished(replica, 1000 * i);
  }
}

// With nothing finished, counts differ by one at most, and tokens by the longest prompt at most.
TEST(Router, LeastLoadKeepsReplicasLevel) {
  for (const RouterPolicy policy : {RouterPolicy::LeastRequests, RouterPolicy::LeastTokens}) {
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
      std::mt19937 random(seed);
      const std::size_t replicas = 1 + random() % 7;
      Router router(policy, static_cast<std::int64_t>(replicas));
      std::vector<std::int64_t> load(replicas, 0);
      constexpr std::int64_t kLongest = 50;
      for (int i = 0; i < 200; ++i) {
        const std::int64_t prompt = 1 + random() % kLongest;
        const std::int64_t replica = router.choose(prompt, {});
        load[static_cast<std::size_t>(replica)] += policy == RouterPolicy::LeastTokens ? prompt : 1;
        const auto [least, most] = std::minmax_element(load.begin(), load.end());
        EXPECT_LE(*most - *least, policy == RouterPolicy::LeastTokens ? kLongest : 1);
      }
    }
  }
}

TEST(Router, WhatIsFinishedNoLongerCounts) {
  Router router(RouterPolicy::LeastRequests, 2);
  EXPECT_EQ(router.choose(5, {}), 0);
  EXPECT_EQ(router.choose(5, {}), 1);
  EXPECT_EQ(router.choose(5, {}), 0);
  router.finished(0, 5);
  router.finished(0, 5);
  EXPECT_EQ(router.choose(5, {}), 0) << "in turn it would be 1";
}

// The cached beginning attracts until the replica is behind by more than it saves.
TEST(Router, PrefixAwareWeighsTheCacheAgainstTheLoad) {
  Router router(RouterPolicy::PrefixAware, 2);
  const std::vector<std::int64_t> cached = {0, 250};
  std::vector<std::int64_t> chosen;
  for (int i = 0; i < 4; ++i) chosen.push_back(router.choose(100 + i, cached));
  EXPECT_EQ(chosen, (std::vector<std::int64_t>{1, 1, 1, 0}));
}

}  // namespace
}  // namespace pentafold
