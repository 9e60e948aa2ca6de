#include "predict/expert_profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "spec/load_shape.h"
#include "support/planning_cases.h"

namespace pentafold {
namespace {

double sum(const std::vector<double>& share) {
  return std::accumulate(share.begin(), share.end(), 0.0);
}

TEST(ExpertProfile, PowerLawSumsToOneAndNoExpertIsPickedTwice) {
  for (const std::int64_t experts : {1, 2, 8, 40, 72, 256}) {
    for (const std::int64_t top_k : {1, 2, 8}) {
      if (top_k > experts) continue;
      for (const double skew : {0.1, 1.0, 3.0, 10.0}) {
        const ExpertProfile profile = power_law_profile(experts, top_k, skew);
        ASSERT_EQ(profile.layers.size(), 1U);
        const std::vector<double>& share = profile.layers.front();
        EXPECT_NEAR(sum(share), 1, 1e-12);
        EXPECT_TRUE(std::ranges::is_sorted(share, std::greater()));
        EXPECT_LE(share.front(), 1.0 / static_cast<double>(top_k) + 1e-12);
      }
    }
  }
  EXPECT_TRUE(power_law_profile(8, 2, 0).even());
}

// Without a cap the shares are e^-skew over their sum.
TEST(ExpertProfile, PowerLawIsZipf) {
  const std::vector<double> share = power_law_profile(64, 1, 0.7).layers.front();
  for (std::size_t e = 1; e < share.size(); ++e) {
    EXPECT_NEAR(share[e] / share[0], std::pow(static_cast<double>(e + 1), -0.7), 1e-12);
  }
}

struct CountedTest : ::testing::Test {
  ModelShape model = load_shape("deepseek-v3").value().model;  // 3 dense layers, 58 of 256 experts
  std::size_t kind = static_cast<std::size_t>(model.layers[10]);

  ExpertProfile of(const ExpertHistogram& histogram) const {
    EXPECT_TRUE(check_fits(histogram, model).ok());
    return counted_profile(histogram, model, kind);
  }
};

TEST_F(CountedTest, RowsBecomeSharesOfAsManyExpertsAsTheModelHas) {
  const ExpertProfile profile = of({"h", 3, {5, 9}, {1, 2, 1, 4, 4, 0}});
  ASSERT_EQ(profile.layers.size(), 2U);
  EXPECT_EQ(profile.numbers, (std::vector<std::int64_t>{5, 9}));
  EXPECT_TRUE(profile.named);
  for (const std::vector<double>& share : profile.layers) {
    EXPECT_EQ(share.size(), 256U);
    EXPECT_NEAR(sum(share), 1, 1e-12);
    // 8 picks of a row among 2 or 3 experts: each is always picked, the rest goes round.
    EXPECT_DOUBLE_EQ(share[0], 1.0 / 8);
  }
}

TEST_F(CountedTest, CountsThatCouldBeAreKeptAsTheyAre) {
  testing::Draw draw(3);
  ExpertHistogram histogram{"h", 256, {3, 60}, {}};
  for (int i = 0; i < 2 * 256; ++i) histogram.counts.push_back(100 + draw.below(500));
  const ExpertProfile profile = of(histogram);
  for (std::size_t layer = 0; layer < 2; ++layer) {
    const auto row = histogram.row(layer);
    const auto total = static_cast<double>(std::accumulate(row.begin(), row.end(), 0LL));
    for (std::size_t e = 0; e < 256; ++e) {
      EXPECT_NEAR(profile.layers[layer][e], static_cast<double>(row[e]) / total, 1e-15);
    }
  }
}

// A kind of which no layer was counted takes those that were.
TEST(ExpertProfile, KindsThatWereNotCountedBorrow) {
  ModelShape model;
  LayerShape layer;
  layer.ffn.experts = 4;
  layer.ffn.top_k = 1;
  model.kinds = {layer, layer, layer};
  model.kinds[2].ffn.experts = 8;
  model.layers = {0, 1, 2};
  const ExpertHistogram histogram{"h", 4, {0}, {1, 1, 1, 5}};
  EXPECT_EQ(counted_profile(histogram, model, 0).numbers, (std::vector<std::int64_t>{0}));
  const ExpertProfile borrowed = counted_profile(histogram, model, 1);
  EXPECT_EQ(borrowed.layers, counted_profile(histogram, model, 0).layers);
  EXPECT_TRUE(borrowed.numbers.empty());
  EXPECT_TRUE(counted_profile(histogram, model, 2).even()) << "wider: nothing is known";
}

}  // namespace
}  // namespace pentafold
