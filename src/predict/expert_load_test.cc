#include "predict/expert_load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/planning_cases.h"

namespace pentafold {
namespace {

using testing::Draw;

// Part of all choices that falls on expert e: as documented, Zipf, none above 1 / top_k.
std::vector<double> shares(std::int64_t experts, std::int64_t top_k, double skew) {
  std::vector<double> share;
  for (std::int64_t e = 0; e < experts; ++e) {
    share.push_back(std::pow(static_cast<double>(e + 1), -skew));
  }
  for (int pass = 0; pass < 200; ++pass) {  // scale, cap, repeat: settles where both hold
    const double sum = std::accumulate(share.begin(), share.end(), 0.0);
    for (double& s : share) s = std::min(s / sum, 1.0 / static_cast<double>(top_k));
  }
  return share;
}

void shuffle(Draw& draw, std::vector<std::size_t>& order) {
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1],
              order[static_cast<std::size_t>(draw.below(static_cast<std::int64_t>(i)))]);
  }
}

// top_k different experts, expert e with probability top_k x share (systematic sampling in a random
// order).
std::vector<std::size_t> route(Draw& draw, const std::vector<double>& share, std::int64_t top_k,
                               std::vector<std::size_t>& order) {
  shuffle(draw, order);
  std::vector<std::size_t> picks;
  double reached = draw.uniform();
  for (const std::size_t e : order) {
    reached += share[e] * static_cast<double>(top_k);
    if (reached >= 1) {
      picks.push_back(e);
      reached -= 1;
    }
  }
  return picks;
}

struct Setting {
  std::int64_t experts, top_k, ep, rows;
  double skew;
};

// Means over samples; placement shuffled anew each time.
ExpertLoad::Busiest sampled(const Setting& s, int samples) {
  Draw draw(static_cast<std::uint64_t>(s.experts * 1000 + s.rows));
  const std::vector<double> share = shares(s.experts, s.top_k, s.skew);
  std::vector<std::size_t> order(share.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::size_t> place = order;
  ExpertLoad::Busiest mean;
  for (int i = 0; i < samples; ++i) {
    shuffle(draw, place);
    const auto group_of = [&](std::size_t e) {
      return place[e] * static_cast<std::size_t>(s.ep) / share.size();
    };
    std::vector<double> rows(static_cast<std::size_t>(s.ep), 0.0);
    std::vector<bool> touched(share.size(), false);
    for (std::int64_t row = 0; row < s.rows; ++row) {
      for (const std::size_t e : route(draw, share, s.top_k, order)) {
        rows[group_of(e)] += 1;
        touched[e] = true;
      }
    }
    std::vector<double> experts(rows.size(), 0.0);
    for (std::size_t e = 0; e < share.size(); ++e) experts[group_of(e)] += touched[e] ? 1 : 0;
    mean.rows += *std::max_element(rows.begin(), rows.end()) / samples;
    mean.experts += *std::max_element(experts.begin(), experts.end()) / samples;
  }
  return mean;
}

void compare(const Setting& s, double tolerance) {
  const ExpertLoad load(s.experts, s.top_k, s.skew);
  const ExpertLoad::Busiest counted =
      load.busiest(static_cast<double>(s.rows), s.ep, s.experts / s.ep, load.peak_share(s.ep, 0));
  const ExpertLoad::Busiest drawn = sampled(s, s.rows > 500 ? 20 : 100);
  const auto where = ::testing::Message() << s.experts << " experts, top " << s.top_k << ", ep "
                                          << s.ep << ", " << s.rows << " rows, skew " << s.skew;
  EXPECT_NEAR(counted.rows / drawn.rows, 1, tolerance) << where;
  EXPECT_NEAR(counted.experts / drawn.experts, 1, tolerance) << where;
}

TEST(ExpertLoad, EvenIsWhatSamplingGives) {
  for (const auto& [experts, top_k] : {std::pair(8, 2), std::pair(128, 8), std::pair(256, 8)}) {
    for (const std::int64_t ep : {1, 2, 8, 64}) {
      if (ep > experts) continue;
      for (const std::int64_t rows : {4, 32, 256, 2048}) {
        compare({experts, top_k, ep, rows, 0}, 0.15);
      }
    }
  }
}

TEST(ExpertLoad, SkewedIsWhatSamplingGives) {
  for (const double skew : {0.5, 1.0}) {
    for (const std::int64_t ep : {1, 4, 16}) {
      for (const std::int64_t rows : {8, 64, 512}) compare({128, 8, ep, rows, skew}, 0.15);
    }
  }
}

TEST(ExpertLoad, OneRowTouchesTopKAndManyTouchAll) {
  for (const double skew : {0.0, 0.8}) {
    const ExpertLoad load(128, 8, skew);
    const ExpertLoad::Busiest one = load.busiest(1, 1, 128, 1);
    EXPECT_NEAR(one.rows, 8, 1e-9);
    EXPECT_NEAR(one.experts, 8, 1e-9);
    EXPECT_NEAR(load.busiest(1e6, 1, 128, 1).experts, 128, 1e-3);
    EXPECT_NEAR(load.busiest(1e6, 16, 8, 1).experts, 8, 1e-3);
  }
}

TEST(ExpertLoad, NeverFallsWithRowsAndNeverExceedsWhatThereIs) {
  for (const double skew : {0.0, 0.3, 1.2, 3.0}) {
    for (const std::int64_t ep : {1, 2, 8, 32}) {
      for (const std::int64_t redundant : {std::int64_t{0}, ep}) {
        const ExpertLoad load(64, 6, skew);
        const double peak = load.peak_share(ep, redundant);
        const std::int64_t slots = (64 + redundant) / ep;
        ExpertLoad::Busiest was;
        for (double rows = 1; rows < 3000; rows = std::max(rows + 1, rows * 1.02)) {
          const ExpertLoad::Busiest is = load.busiest(rows, ep, slots, peak);
          ASSERT_GE(is.rows, was.rows) << skew << " ep " << ep << " rows " << rows;
          ASSERT_GE(is.experts, was.experts) << skew << " ep " << ep << " rows " << rows;
          ASSERT_LE(is.experts, static_cast<double>(slots));
          ASSERT_LE(is.rows, rows * 6);
          ASSERT_GE(is.rows * (1 + 1e-9), rows * 6 / static_cast<double>(ep));
          was = is;
        }
      }
    }
  }
}

TEST(ExpertLoad, EvenLoadHasNoPeakAndOneGroupHasAll) {
  for (const std::int64_t ep : {1, 4, 64}) EXPECT_EQ(ExpertLoad(64, 6, 0).peak_share(ep, 0), 1);
  EXPECT_EQ(ExpertLoad(64, 6, 1.2).peak_share(1, 0), 1);
}

TEST(ExpertLoad, RedundancyNeverMakesThePeakLarger) {
  for (const std::int64_t experts : {8, 64, 256}) {
    for (const double skew : {0.2, 0.6, 1.0, 1.5, 3.0}) {
      const ExpertLoad load(experts, std::min<std::int64_t>(experts, 4), skew);
      for (std::int64_t ep = 2; ep <= experts; ep *= 2) {
        const double alone = load.peak_share(ep, 0);
        EXPECT_LE(alone, static_cast<double>(ep));
        double best = alone;
        for (std::int64_t redundant = ep; redundant <= experts; redundant *= 2) {
          const double is = load.peak_share(ep, redundant);
          EXPECT_LE(is, alone) << experts << " experts, skew " << skew << ", ep " << ep << ", +"
                               << redundant;
          EXPECT_GE(is, 1);
          best = std::min(best, is);
          // Dealing is greedy: more copies may fit a little worse.
          EXPECT_LE(is, best * 1.1);
        }
      }
    }
  }
}

// More skew concentrates the load.
TEST(ExpertLoad, PeakGrowsWithSkew) {
  double was = 1;
  for (const double skew : {0.3, 0.6, 0.9, 1.2}) {
    const double is = ExpertLoad(256, 8, skew).peak_share(32, 0);
    EXPECT_GT(is, was);
    was = is;
  }
}

}  // namespace
}  // namespace pentafold
