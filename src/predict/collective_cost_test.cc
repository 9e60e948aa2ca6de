#include "predict/collective_cost.h"

#include <gtest/gtest.h>

#include <cmath>

namespace pentafold {
namespace {

const CostConstants kConstants;

// Domains of 8 on a fast link, of 64 on a slower one, all on the slowest.
ClusterSpec three_levels() {
  ClusterSpec cluster;
  cluster.links = {
      {"inner", 8, 400e9, 2e-6}, {"middle", 64, 50e9, 5e-6}, {"outer", kEveryDevice, 12e9, 9e-6}};
  return cluster;
}

// Plain: at each level, what `n` parts of it do, then the same for the shares on the next level.
double per_level(const ClusterSpec& cluster, std::size_t level, std::int64_t ranks, double bytes,
                 double times) {
  if (ranks == 1) return 0;
  const LinkLevel& link = cluster.links[level];
  const std::int64_t inside = level == 0 ? 1 : cluster.links[level - 1].domain;
  const auto n = static_cast<double>(std::min(ranks, link.domain / inside));
  const double here = times * ((n - 1) / n * bytes / (link.bytes_per_s * kConstants.link) +
                               std::ceil(std::log2(n)) * link.latency_s);
  const std::int64_t rest = ranks / static_cast<std::int64_t>(n);
  return here + per_level(cluster, level + 1, rest, bytes / n, times);
}

TEST(CollectiveCost, OneRankMovesNothing) {
  const ClusterSpec cluster = three_levels();
  EXPECT_EQ(all_reduce_seconds(cluster, kConstants, {1, 1}, 1e9), 0);
  EXPECT_EQ(all_gather_seconds(cluster, kConstants, {1, 1}, 1e9), 0);
  EXPECT_EQ(all_to_all_seconds(cluster, kConstants, {1, 1}, {100, 1e4, 1, 1, 1}), 0);
  EXPECT_EQ(all_to_all_seconds(cluster, kConstants, {8, 8}, {0, 1e4, 8, 2, 1}), 0);
}

TEST(CollectiveCost, IsTheSumOverLevels) {
  const ClusterSpec cluster = three_levels();
  for (const std::int64_t ranks : {2, 4, 8, 16, 32, 64, 128, 512, 4096}) {
    for (const double bytes : {0.0, 4096.0, 3e6, 1e9}) {
      const Group group{ranks, ranks};
      EXPECT_NEAR(all_reduce_seconds(cluster, kConstants, group, bytes),
                  kConstants.collective_s + per_level(cluster, 0, ranks, bytes, 2), 1e-12)
          << ranks << " ranks, " << bytes;
      EXPECT_NEAR(all_gather_seconds(cluster, kConstants, group, bytes),
                  kConstants.collective_s + per_level(cluster, 0, ranks, bytes, 1), 1e-12)
          << ranks << " ranks, " << bytes;
    }
  }
}

// On one level: (n - 1) / n of the bytes out of each rank.
TEST(CollectiveCost, OneLevelIsTheTextbook) {
  const ClusterSpec cluster = three_levels();
  const double bandwidth = 400e9 * kConstants.link;
  EXPECT_NEAR(all_reduce_seconds(cluster, kConstants, {8, 8}, 1e9),
              kConstants.collective_s + 2 * 3 * 2e-6 + 2 * 7.0 / 8 * 1e9 / bandwidth, 1e-12);
  // Every row goes to all 8 ranks: 7 leave.
  EXPECT_NEAR(all_to_all_seconds(cluster, kConstants, {8, 8}, {100, 1e4, 1, 1, 8}),
              kConstants.collective_s + 3 * 2e-6 + 100 * 1e4 * 7 / bandwidth, 1e-12);
  // One pick among 8 homes: 7 times in 8 it is another's.
  EXPECT_NEAR(all_to_all_seconds(cluster, kConstants, {8, 8}, {100, 1e4, 8, 1, 1}),
              kConstants.collective_s + 3 * 2e-6 + 100 * 1e4 * 7 / 8 / bandwidth, 1e-12);
  EXPECT_NEAR(send_seconds(cluster, kConstants, 8, 1e6), 2e-6 + 1e6 / bandwidth, 1e-12);
  EXPECT_NEAR(send_seconds(cluster, kConstants, 9, 1e6), 5e-6 + 1e6 / (50e9 * kConstants.link),
              1e-12);
}

// Members that lie apart reach outer levels sooner.
TEST(CollectiveCost, StridedGroupsPayForTheirSpan) {
  const ClusterSpec cluster = three_levels();
  for (const double bytes : {0.0, 1e6, 1e8}) {
    double was = 0;
    for (const std::int64_t span : {8, 16, 32, 64, 512}) {
      const double is = all_reduce_seconds(cluster, kConstants, {8, span}, bytes);
      EXPECT_GE(is, was) << span;
      was = is;
    }
    // Eight ranks in eight domains: the middle level alone.
    ClusterSpec middle = cluster;
    middle.links.erase(middle.links.begin());
    EXPECT_NEAR(all_reduce_seconds(cluster, kConstants, {8, 64}, bytes),
                all_reduce_seconds(middle, kConstants, {8, 8}, bytes), 1e-12);
  }
}

TEST(CollectiveCost, MoreBytesAreNeverFaster) {
  const ClusterSpec cluster = three_levels();
  for (const std::int64_t ranks : {2, 3, 6, 8, 12, 40, 64, 72, 320}) {
    double reduce = 0;
    double gather = 0;
    double exchange = 0;
    for (double bytes = 1; bytes < 1e10; bytes *= 3) {
      const Group group{ranks, ranks};
      const double r = all_reduce_seconds(cluster, kConstants, group, bytes);
      const double g = all_gather_seconds(cluster, kConstants, group, bytes);
      const double x = all_to_all_seconds(cluster, kConstants, group,
                                          {bytes / 1e4, 1e4, static_cast<double>(ranks), 8, 1});
      EXPECT_GE(r, reduce) << ranks;
      EXPECT_GE(g, gather) << ranks;
      EXPECT_GE(x, exchange) << ranks;
      EXPECT_GE(r, g) << ranks;
      reduce = r;
      gather = g;
      exchange = x;
    }
  }
}

// The same ranks on smaller domains: more of them cross slower links.
TEST(CollectiveCost, MoreDomainsAreNeverCheaper) {
  for (const std::int64_t ranks : {8, 16, 64, 256}) {
    for (const double bytes : {0.0, 1e5, 1e8}) {
      double reduce = 0;
      double exchange = 0;
      for (std::int64_t domain = 256; domain >= 1; domain /= 2) {
        ClusterSpec cluster;
        cluster.links = {{"near", domain, 400e9, 2e-6}, {"far", kEveryDevice, 40e9, 6e-6}};
        const Group group{ranks, ranks};
        const double r = all_reduce_seconds(cluster, kConstants, group, bytes);
        const double x =
            all_to_all_seconds(cluster, kConstants, group, {1 + bytes / 1e4, 1e4, 256, 8, 1});
        EXPECT_GE(r * (1 + 1e-12), reduce) << ranks << " in domains of " << domain;
        EXPECT_GE(x * (1 + 1e-12), exchange) << ranks << " in domains of " << domain;
        reduce = r;
        exchange = x;
      }
    }
  }
}

// Forwarding inside the target domain: however many picks, a row crosses once for each domain.
TEST(CollectiveCost, RowsCrossOnceForEachDomain) {
  ClusterSpec cluster = three_levels();
  cluster.links[0].bytes_per_s = 1e15;
  cluster.links[0].latency_s = 0;
  const double bandwidth = 50e9 * kConstants.link;
  const double seconds = all_to_all_seconds(cluster, kConstants, {16, 16}, {100, 1e4, 16, 1000, 1});
  EXPECT_NEAR(seconds, kConstants.collective_s + 5e-6 + 100 * 1e4 / bandwidth, 1e-9);
}

}  // namespace
}  // namespace pentafold
