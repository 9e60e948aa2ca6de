#include "predict/expert_placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "spec/load_shape.h"
#include "support/planning_cases.h"

namespace pentafold {
namespace {

using testing::Draw;

// Shares as uneven as counted ones: a few hot experts, most below the mean.
std::vector<double> drawn_shares(Draw& draw, std::int64_t experts) {
  std::vector<double> share;
  for (std::int64_t e = 0; e < experts; ++e) share.push_back(-std::log(1 - draw.uniform()) + 0.05);
  const double sum = std::accumulate(share.begin(), share.end(), 0.0);
  for (double& s : share) s /= sum;
  return share;
}

TEST(ExpertPlacement, EvenSharesHaveNoPeak) {
  for (const std::int64_t ep : {1, 2, 8, 64}) {
    const std::vector<double> share(64, 1.0 / 64);
    EXPECT_NEAR(blocked_peak(share, ep), 1, 1e-12);
    EXPECT_NEAR(shuffled_peak(share, ep), 1, 1e-12);
    EXPECT_NEAR(balanced_peak(share, ep, 0), 1, 1e-12);
    EXPECT_NEAR(balanced_peak(share, ep, ep), 1, 1e-12);
  }
}

TEST(ExpertPlacement, OneHotExpert) {
  std::vector<double> share(8, 0.0);
  share[3] = 1;
  EXPECT_DOUBLE_EQ(blocked_peak(share, 4), 4);
  EXPECT_DOUBLE_EQ(shuffled_peak(share, 4), 4);
  EXPECT_DOUBLE_EQ(balanced_peak(share, 4, 0), 4);
  EXPECT_DOUBLE_EQ(balanced_peak(share, 4, 1), 2);
  EXPECT_DOUBLE_EQ(balanced_peak(share, 4, 3), 1);
  EXPECT_DOUBLE_EQ(balanced_peak(share, 4, 24), 1) << "more copies than groups serve nobody";
}

// No dealing is below the mean, nor below what the hottest copy alone brings; the greedy one stays
// within 4/3 of that bound plus one copy (Graham 1969), and a permutation changes nothing.
TEST(ExpertPlacement, BalancedIsNearItsBoundWhateverTheOrder) {
  Draw draw(5);
  for (int i = 0; i < 200; ++i) {
    const std::int64_t experts = draw.one_of({8, 40, 64, 256});
    const std::int64_t ep = draw.one_of({2, 4, 8});
    const std::int64_t redundant = draw.one_of({0, 1, 2, 4}) * ep;
    std::vector<double> share = drawn_shares(draw, experts);
    const double peak = balanced_peak(share, ep, redundant);
    EXPECT_GE(peak, 1 - 1e-12);
    EXPECT_LE(peak, static_cast<double>(ep));
    std::ranges::sort(share);
    EXPECT_NEAR(balanced_peak(share, ep, redundant), peak, 1e-9);
    EXPECT_LE(peak, std::max(blocked_peak(share, ep), 1.35)) << experts << " over " << ep;
  }
}

struct TableTest : ::testing::Test {
  static Placement placed(const StagePlan& stage, std::int64_t layers, std::int64_t experts) {
    const std::vector<std::int64_t> by_layer(static_cast<std::size_t>(layers), experts);
    return Placement::build({}, stage, {0, layers}, by_layer).value();
  }
  static StagePlan stage(std::int64_t ranks, std::int64_t ep, std::int64_t etp) {
    StagePlan out;
    out.dp = ranks;
    out.ep = ep;
    out.etp = etp;
    return out;
  }
};

TEST_F(TableTest, OfABlockedPlacementIsBlocked) {
  Draw draw(9);
  for (const auto& [ep, etp, edp] : {std::tuple(1, 1, 1), std::tuple(4, 1, 1), std::tuple(4, 2, 1),
                                     std::tuple(2, 2, 3), std::tuple(8, 1, 2)}) {
    const StagePlan s = stage(std::int64_t{ep} * etp * edp, ep, etp);
    const std::vector<double> share = drawn_shares(draw, 16);
    EXPECT_NEAR(table_peak(share, placed(s, 1, 16), 0, s), blocked_peak(share, ep), 1e-9)
        << ep << " x " << etp << " x " << edp;
  }
}

TEST_F(TableTest, OfASpreadPlacementCountsEachRank) {
  Draw draw(10);
  StagePlan s = stage(4, 4, 1);
  s.placement = PlacementStyle::Spread;
  const Placement placement = placed(s, 3, 6);
  const std::vector<double> share = drawn_shares(draw, 6);
  for (std::int64_t layer = 0; layer < 3; ++layer) {
    std::vector<double> load(4, 0.0);
    for (std::int64_t e = 0; e < 6; ++e) {
      load[static_cast<std::size_t>((layer * 6 + e) % 4)] += share[static_cast<std::size_t>(e)];
    }
    EXPECT_NEAR(table_peak(share, placement, layer, s), 4 * *std::ranges::max_element(load), 1e-9);
  }
}

// An explicit table with a copy of the hot expert on every rank.
TEST_F(TableTest, OfAnExplicitTableFollowsTheServingCopies) {
  StagePlan s = stage(2, 2, 1);
  s.placement = PlacementStyle::Explicit;
  s.explicit_placement = {{-1, 0, {{{0}, false}, {{1}, false}}, 0},
                          {-1, 1, {{{0}, false}, {{1}, true}}, 0},
                          {-1, 2, {{{1}, false}}, 0}};
  const Placement placement = placed(s, 1, 3);
  const std::vector<double> share = {0.6, 0.3, 0.1};
  EXPECT_NEAR(table_peak(share, placement, 0, s), 2 * (0.3 + 0.3), 1e-12);
}

struct StagePeakTest : TableTest {
  ModelShape model = load_shape("mixtral-8x7b").value().model;
  Workload workload{1000, 100, {}, {}, 0};
  Plan plan;
  double peak(const StagePlan& stage) const {
    return stage_peak_share(plan, stage, {0, 32}, model, workload).value();
  }
};

TEST_F(StagePeakTest, IsTheMeanOverLayersOfTheirMaxima) {
  // Layer 0 has its load on one rank of two, layer 1 evenly; the other 30 were not counted.
  ExpertHistogram histogram{"h", 8, {0, 1}, {5, 5, 5, 5, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}};
  workload.expert_load = std::make_shared<const ExpertHistogram>(histogram);
  EXPECT_NEAR(peak(stage(2, 2, 1)), 1.5, 1e-12);
  EXPECT_NEAR(peak(stage(2, 1, 2)), 1, 1e-12);
}

TEST_F(StagePeakTest, AgreesWithTheSearchWhereThePlanIsBlocked) {
  EXPECT_NEAR(peak(stage(4, 4, 1)), 1, 1e-12);
  workload.skew = 0.9;
  const std::vector<double> share = power_law_profile(8, 2, 0.9).layers.front();
  EXPECT_NEAR(peak(stage(4, 4, 1)), shuffled_peak(share, 4), 1e-9);
}

TEST_F(StagePeakTest, RefusesWhatThePlacementRefuses) {
  StagePlan s = stage(2, 2, 1);
  s.placement = PlacementStyle::Explicit;
  EXPECT_FALSE(stage_peak_share(plan, s, {0, 32}, model, workload).ok());
}

// What is dealt is a placement: nobody twice in a group, everybody somewhere, groups equally full,
// and the load is the one that is priced.
TEST(ExpertPlacement, BalancedGroupsAreAPlacementWithThePricedPeak) {
  Draw draw(11);
  for (int i = 0; i < 300; ++i) {
    const std::int64_t ep = draw.one_of({2, 3, 4, 8});
    const std::int64_t experts = ep * draw.one_of({1, 2, 5, 16});
    const std::int64_t redundant = std::min((ep - 1) * experts, ep * draw.one_of({0, 1, 2, 7}));
    std::vector<double> share = drawn_shares(draw, experts);
    if (draw.below(3) == 0) share.assign(share.size(), 0.0), share[0] = 1;  // copies meet
    const auto groups = balanced_groups(share, ep, redundant);
    ASSERT_EQ(std::ssize(groups), ep);
    std::map<std::int64_t, double> copies;
    for (const auto& group : groups) {
      EXPECT_EQ(std::ssize(group), (experts + redundant) / ep);
      EXPECT_TRUE(std::ranges::adjacent_find(group) == group.end()) << "an expert twice";
      for (const std::int64_t e : group) copies[e] += 1;
    }
    EXPECT_EQ(std::ssize(copies), experts);
    double most = 0;
    for (const auto& group : groups) {
      double load = 0;
      for (const std::int64_t e : group) load += share[static_cast<std::size_t>(e)] / copies[e];
      most = std::max(most, load);
    }
    EXPECT_NEAR(balanced_peak(share, ep, redundant), most * static_cast<double>(ep), 1e-9);
  }
}

TEST(ExpertPlacement, GroupLoadsAverageOneAndReachThePeak) {
  Draw draw(3);
  for (int i = 0; i < 100; ++i) {
    const std::int64_t ep = draw.one_of({1, 2, 4, 8});
    const std::int64_t redundant = ep * draw.one_of({0, 0, 1});
    ExpertProfile profile;
    profile.named = draw.below(2) == 0;
    profile.layers = {drawn_shares(draw, 64)};
    const std::vector<double> loads = group_loads(profile, ep, redundant);
    ASSERT_EQ(std::ssize(loads), ep);
    EXPECT_NEAR(std::accumulate(loads.begin(), loads.end(), 0.0), static_cast<double>(ep), 1e-9);
    const std::vector<double>& share = profile.layers.front();
    const double apart = profile.named ? blocked_peak(share, ep) : shuffled_peak(share, ep);
    const double peak =
        redundant > 0 ? std::min(apart, balanced_peak(share, ep, redundant)) : apart;
    EXPECT_NEAR(*std::ranges::max_element(loads), peak, 1e-9);
  }
  EXPECT_EQ(group_loads({}, 4, 0), std::vector<double>(4, 1.0));
}

}  // namespace
}  // namespace pentafold
