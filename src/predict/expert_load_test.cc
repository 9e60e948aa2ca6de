#include "predict/expert_load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <utility>

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

struct Routed {
  ExpertLoad::Busiest busiest;
  ExpertLoad::Dispatch dispatch;
  double overflow = 0;  // at a capacity of 1.25 times the mean
};

// `rows` rows routed once; place[e] / (E / ep) is the group of expert e, and rows lie on the
// groups in equal blocks.
Routed routed(Draw& draw, const Setting& s, const std::vector<double>& share,
              const std::vector<std::size_t>& place) {
  const auto groups = static_cast<std::size_t>(s.ep);
  std::vector<std::size_t> order(share.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<double> pairs(groups, 0.0);
  std::vector<double> received(groups, 0.0);
  std::vector<double> chosen(share.size(), 0.0);
  Routed out;
  for (std::int64_t row = 0; row < s.rows; ++row) {
    std::vector<bool> visited(groups, false);
    for (const std::size_t e : route(draw, share, s.top_k, order)) {
      const std::size_t group = place[e] * groups / share.size();
      pairs[group] += 1;
      chosen[e] += 1;
      visited[group] = true;
    }
    for (std::size_t g = 0; g < groups; ++g) {
      if (!visited[g] || g == static_cast<std::size_t>(row * s.ep / s.rows)) continue;
      received[g] += 1;
      out.dispatch.sent += 1 / static_cast<double>(s.ep);
    }
  }
  std::vector<double> touched(groups, 0.0);
  const auto choices = static_cast<double>(s.rows * s.top_k);
  const double capacity = std::ceil(1.25 * choices / static_cast<double>(share.size()));
  for (std::size_t e = 0; e < share.size(); ++e) {
    touched[place[e] * groups / share.size()] += chosen[e] > 0 ? 1 : 0;
    out.overflow += std::max(0.0, chosen[e] - capacity) / choices;
  }
  out.busiest = {*std::ranges::max_element(pairs), *std::ranges::max_element(touched)};
  out.dispatch.received = *std::ranges::max_element(received);
  return out;
}

void add(Routed& sum, const Routed& one, double weight) {
  sum.busiest.rows += weight * one.busiest.rows;
  sum.busiest.experts += weight * one.busiest.experts;
  sum.dispatch.sent += weight * one.dispatch.sent;
  sum.dispatch.received += weight * one.dispatch.received;
  sum.overflow += weight * one.overflow;
}

// Means over samples; placement shuffled anew each time.
Routed sampled(const Setting& s, int samples) {
  Draw draw(static_cast<std::uint64_t>(s.experts * 1000 + s.rows));
  const std::vector<double> share = shares(s.experts, s.top_k, s.skew);
  std::vector<std::size_t> place(share.size());
  std::iota(place.begin(), place.end(), std::size_t{0});
  Routed mean;
  for (int i = 0; i < samples; ++i) {
    shuffle(draw, place);
    add(mean, routed(draw, s, share, place), 1.0 / samples);
  }
  return mean;
}

void compare(const Setting& s, double tolerance) {
  const ExpertLoad load(s.experts, s.top_k, s.skew);
  const ExpertLoad::Busiest counted =
      load.busiest(static_cast<double>(s.rows), s.ep, s.experts / s.ep, load.peak_share(s.ep, 0));
  const ExpertLoad::Busiest drawn = sampled(s, s.rows > 500 ? 20 : 100).busiest;
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

// As counted in a real run (DeepSeek-V2-Lite on four tasks: coefficient of variation 0.3 to 0.9 by
// layer): exponential shares over a floor, in a CSV of counts.
std::string drawn_csv(Draw& draw, std::int64_t layers, std::int64_t experts) {
  std::string text = "task,moe_layer,expert,count,weight_sum\n";
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const double floor = 0.1 + draw.uniform();
    for (std::int64_t e = 0; e < experts; ++e) {
      const double count = 1000 * (floor - std::log(1 - draw.uniform()));
      text += std::to_string(layer) + "," + std::to_string(layer) + "," + std::to_string(e) + "," +
              std::to_string(static_cast<std::int64_t>(count)) + ",0.5\n";
    }
  }
  return text;
}

// 64 experts, top 6, in 4 layers.
struct CountedLoadTest : ::testing::Test {
  CountedLoadTest() {
    LayerShape layer;
    layer.ffn.experts = 64;
    layer.ffn.top_k = 6;
    model.kinds = {layer};
    model.layers = {0, 0, 0, 0};
    Draw draw(11);
    auto histogram = parse_expert_histogram(drawn_csv(draw, 4, 64), "counts.csv");
    workload.expert_load = std::make_shared<const ExpertHistogram>(std::move(histogram).value());
  }
  ModelShape model;
  Workload workload{1000, 100, {}, {}, 0};
};

// What a step waits for is the mean over layers of their maxima; nothing is fitted here.
TEST_F(CountedLoadTest, IsWhatSamplingGives) {
  const ExpertLoad load = expert_load(model, 0, workload);
  const ExpertProfile profile = expert_profile(model, 0, workload);
  std::vector<std::size_t> place(64);
  std::iota(place.begin(), place.end(), std::size_t{0});
  Draw draw(12);
  for (const std::int64_t ep : {1, 4, 16, 64}) {
    for (const std::int64_t rows : {8, 64, 512}) {
      const Setting s{64, 6, ep, rows, 0};
      Routed drawn;
      for (const std::vector<double>& share : profile.layers) {
        for (int i = 0; i < 40; ++i) add(drawn, routed(draw, s, share, place), 1.0 / 160);
      }
      const auto n = static_cast<double>(rows);
      const double peak = load.peak_share(ep, 0);
      const ExpertLoad::Busiest busiest = load.busiest(n, ep, 64 / ep, peak);
      const ExpertLoad::Dispatch dispatch = load.dispatch(n, ep, 64 / ep, peak);
      SCOPED_TRACE(::testing::Message() << "ep " << ep << ", " << rows << " rows");
      EXPECT_NEAR(busiest.rows / drawn.busiest.rows, 1, 0.05);
      EXPECT_NEAR(busiest.experts / drawn.busiest.experts, 1, 0.05);
      EXPECT_NEAR(load.overflow(rows, 1.25), drawn.overflow, 0.02);
      if (ep == 1) continue;
      EXPECT_NEAR(dispatch.sent / drawn.dispatch.sent, 1, 0.05);
      EXPECT_NEAR(dispatch.received / drawn.dispatch.received, 1, 0.15);
    }
  }
}

TEST_F(CountedLoadTest, EqualCountsAreTheEvenLoad) {
  workload.expert_load = std::make_shared<const ExpertHistogram>(
      ExpertHistogram{"h", 64, {0, 2}, std::vector<std::int64_t>(2 * 64, 7)});
  const ExpertLoad counted = expert_load(model, 0, workload);
  const ExpertLoad even(64, 6, 0);
  for (const std::int64_t ep : {1, 4, 64}) {
    for (const std::int64_t redundant : {std::int64_t{0}, ep}) {
      EXPECT_NEAR(counted.peak_share(ep, redundant), 1, 1e-9);
      EXPECT_NEAR(counted.worst_peak_share(ep, redundant), 1, 1e-9);
    }
    for (const double rows : {0.5, 1.0, 17.0, 4096.0}) {
      const ExpertLoad::Busiest a = counted.busiest(rows, ep, 64 / ep, 1);
      const ExpertLoad::Busiest b = even.busiest(rows, ep, 64 / ep, 1);
      EXPECT_NEAR(a.rows, b.rows, 1e-9 * b.rows);
      EXPECT_NEAR(a.experts, b.experts, 1e-9 * b.experts);
    }
  }
  EXPECT_NEAR(counted.overflow(100, 1.1), even.overflow(100, 1.1), 1e-9);
}

// Where groups do not matter neither does which expert is the hot one.
TEST_F(CountedLoadTest, OrderMattersOnlyToPlacement) {
  ExpertHistogram sorted = *workload.expert_load;
  for (std::ptrdiff_t layer = 0; layer < 4; ++layer) {
    std::sort(sorted.counts.begin() + layer * 64, sorted.counts.begin() + (layer + 1) * 64);
  }
  const ExpertLoad before = expert_load(model, 0, workload);
  workload.expert_load = std::make_shared<const ExpertHistogram>(sorted);
  const ExpertLoad after = expert_load(model, 0, workload);
  for (const double rows : {1.0, 32.0, 1000.0}) {
    EXPECT_NEAR(after.busiest(rows, 4, 16, 1.2).experts, before.busiest(rows, 4, 16, 1.2).experts,
                1e-9);
  }
  EXPECT_NEAR(after.overflow(500, 1.2), before.overflow(500, 1.2), 1e-12);
  EXPECT_NEAR(after.peak_share(64, 0), before.peak_share(64, 0), 1e-9);
  EXPECT_NEAR(after.peak_share(8, 32), before.peak_share(8, 32), 1e-9);
  EXPECT_GT(after.peak_share(8, 0), 1.2 * before.peak_share(8, 0)) << "hot ones side by side";
}

TEST_F(CountedLoadTest, CopiesNeverRaiseThePeakAndTheWorstLayerIsAtLeastTheMean) {
  const ExpertLoad load = expert_load(model, 0, workload);
  for (const std::int64_t ep : {2, 8, 32}) {
    const double alone = load.peak_share(ep, 0);
    for (const std::int64_t redundant : {1, 8, 32, 64}) {
      EXPECT_LE(load.peak_share(ep, redundant), alone);
      EXPECT_GE(load.worst_peak_share(ep, redundant), load.peak_share(ep, redundant));
    }
  }
}

}  // namespace
}  // namespace pentafold
