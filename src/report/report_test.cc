#include "report/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

namespace pentafold {
namespace {

using Json = nlohmann::json;

constexpr auto kOne = static_cast<std::int64_t>(1.0 / kScoreUnit);  // a probability of 1

// Tokens whose top_k choices go round the experts, with probabilities that sum to 1.
LayerRouting even_routing(std::int64_t experts, std::int64_t top_k, std::int64_t rounds) {
  LayerRouting layer;
  layer.tokens = experts * rounds;
  layer.wanted = layer.tokens * top_k;
  layer.assigned.assign(static_cast<std::size_t>(experts), rounds * top_k);
  layer.chosen = layer.assigned;
  layer.refused.assign(static_cast<std::size_t>(experts), 0);
  layer.score.assign(static_cast<std::size_t>(experts), rounds * kOne);
  return layer;
}

RoutingStats of(const LayerRouting& layer) {
  return RoutingStats{{layer}};
}

TEST(RoutingStats, EvenRoutingHasBalanceLossOne) {
  for (const std::int64_t experts : {1, 2, 8, 60, 256}) {
    for (const std::int64_t top_k : {1, 2, 8}) {
      const RoutingSummary s = of(even_routing(experts, top_k, 3)).layer(0);
      EXPECT_NEAR(s.balance_loss, 1.0, 1e-9);
      EXPECT_NEAR(s.max_over_mean, 1.0, 1e-12);
      EXPECT_NEAR(s.cv, 0.0, 1e-12);
      EXPECT_EQ(s.overflow_rate, 0.0);
    }
  }
}

// All tokens on one expert, which has all the probability: E, the worst there is.
TEST(RoutingStats, AllOnOneExpertHasBalanceLossE) {
  for (const std::size_t experts : {2, 8, 64}) {
    LayerRouting layer = even_routing(static_cast<std::int64_t>(experts), 1, 2);
    layer.assigned.assign(experts, 0);
    layer.score.assign(experts, 0);
    layer.assigned[1] = layer.tokens;
    layer.score[1] = layer.tokens * kOne;
    const RoutingSummary s = of(layer).layer(0);
    const auto e = static_cast<double>(experts);
    EXPECT_NEAR(s.balance_loss, e, 1e-9);
    EXPECT_NEAR(s.max_over_mean, e, 1e-12);
    EXPECT_NEAR(s.cv, std::sqrt(e - 1), 1e-9);
  }
}

LayerRouting random_layer(std::mt19937& random, std::size_t experts) {
  LayerRouting layer;
  layer.tokens = 1 + static_cast<std::int64_t>(random() % 100);
  layer.wanted = layer.tokens * 2;
  for (std::size_t e = 0; e < experts; ++e) {
    layer.chosen.push_back(static_cast<std::int64_t>(random() % 60));
    layer.assigned.push_back(static_cast<std::int64_t>(random() % 50));
    layer.refused.push_back(static_cast<std::int64_t>(random() % 5));
    layer.score.push_back(static_cast<std::int64_t>(random()) << 12);
  }
  return layer;
}

std::vector<std::int64_t> flat(const RoutingStats& stats) {
  std::vector<std::int64_t> out;
  for (const LayerRouting& layer : stats.layers) {
    out.push_back(layer.tokens);
    out.push_back(layer.wanted);
    for (const auto* list : {&layer.chosen, &layer.assigned, &layer.refused, &layer.score}) {
      out.insert(out.end(), list->begin(), list->end());
    }
  }
  return out;
}

// Ranks report in any order: totals are the same integers. Some know fewer layers.
TEST(RoutingStats, SumsCommute) {
  std::mt19937 random(9);
  std::vector<RoutingStats> ranks;
  for (std::size_t r = 0; r < 7; ++r) {
    RoutingStats stats;
    for (std::size_t l = 0; l < 1 + r % 4; ++l) stats.layers.push_back(random_layer(random, 6));
    ranks.push_back(stats);
  }
  RoutingStats wanted;
  for (const RoutingStats& rank : ranks) wanted.add(rank);
  for (int round = 0; round < 20; ++round) {
    std::shuffle(ranks.begin(), ranks.end(), random);
    RoutingStats left;
    RoutingStats right;
    for (std::size_t r = 0; r < ranks.size(); ++r) (r % 2 == 0 ? left : right).add(ranks[r]);
    left.add(right);
    EXPECT_EQ(flat(left), flat(wanted));
    EXPECT_EQ(left.total().balance_loss, wanted.total().balance_loss);
  }
}

TEST(RoutingStats, TotalIsAMeanOverLayersThatSawTokens) {
  std::mt19937 random(10);
  RoutingStats stats;
  stats.resize(4, 6);
  stats.layers[1] = random_layer(random, 6);
  stats.layers[3] = random_layer(random, 6);
  const RoutingSummary a = stats.layer(1);
  const RoutingSummary b = stats.layer(3);
  const RoutingSummary total = stats.total();
  EXPECT_NEAR(total.cv, (a.cv + b.cv) / 2, 1e-12);
  EXPECT_NEAR(total.overflow_rate, (a.overflow_rate + b.overflow_rate) / 2, 1e-12);
  EXPECT_NEAR(total.balance_loss, (a.balance_loss + b.balance_loss) / 2, 1e-12);
  EXPECT_EQ(total.max_over_mean, std::max(a.max_over_mean, b.max_over_mean));
  RoutingStats empty;
  empty.resize(3, 6);
  EXPECT_EQ(empty.total().balance_loss, 0.0);
}

Report some_report() {
  Report report;
  report.plan = "pp1 dp1 sp1 tp2 ep2 etp1";
  report.ranks = 2;
  report.run_s = 2;
  report.weight_bytes = 1234;
  report.steps = 5;
  report.requests = {{0, 7, {1, 2, 3}, 0.5, 1.5}, {3, 2, {9}, 0.25, 0.25}};
  report.collectives["combine"] = {10, 4096};
  report.collectives["dispatch"] = {11, 100};
  report.routing.resize(2, 4);
  report.routing.layers[1] = even_routing(4, 2, 5);
  report.memory = {1020, 1000, 1900, 1500, 300, 290};
  report.logits_hash = 0xFEEDULL;
  report.logit_rows = 12;
  return report;
}

TEST(Report, MeansFollowTheirDefinitions) {
  const Report report = some_report();
  EXPECT_EQ(report.generated(), 4);
  EXPECT_NEAR(report.mean_ttft_s(), 0.375, 1e-12);
  EXPECT_NEAR(report.mean_tpot_s(), 0.5, 1e-12);  // (1.5 - 0.5) / 2, of the one that has a second
  EXPECT_NEAR(report.tokens_per_s(), 2.0, 1e-12);
  EXPECT_FALSE(report.requests[1].tpot_s().has_value());
  const Report empty;
  EXPECT_EQ(empty.mean_ttft_s() + empty.mean_tpot_s() + empty.tokens_per_s(), 0.0);
}

TEST(Report, JsonSaysWhatTheReportHolds) {
  const Report report = some_report();
  const Json json = Json::parse(report_json(report));
  EXPECT_EQ(json["plan"], report.plan);
  EXPECT_EQ(json["ranks"], 2);
  EXPECT_EQ(json["weight_bytes"], 1234);
  EXPECT_EQ(json["logits_hash"], "000000000000feed");
  EXPECT_EQ(json["logit_rows"], 12);
  EXPECT_EQ(json["steps"], 5);
  EXPECT_EQ(json["tokens_per_s"], 2.0);
  ASSERT_EQ(json["requests"].size(), 2U);
  EXPECT_EQ(json["requests"][0]["tokens"], Json({1, 2, 3}));
  EXPECT_EQ(json["requests"][0]["tpot_s"], 0.5);
  EXPECT_EQ(json["requests"][1]["id"], 3);
  EXPECT_FALSE(json["requests"][1].contains("tpot_s"));
  EXPECT_EQ(json["collectives"]["combine"]["bytes"], 4096);
  EXPECT_EQ(json["collectives"]["dispatch"]["calls"], 11);
  ASSERT_EQ(json["routing"].size(), 1U);  // the layer that saw tokens
  EXPECT_EQ(json["routing"][0]["layer"], 1);
  EXPECT_EQ(json["routing"][0]["chosen"], Json(report.routing.layers[1].chosen));
  EXPECT_NEAR(json["routing"][0]["balance_loss"].get<double>(), 1.0, 1e-9);
  EXPECT_EQ(json["memory"]["predicted_peak_bytes"], 1020);
  EXPECT_EQ(json["memory"]["peak_bytes"], 1000);
  EXPECT_EQ(json["memory"]["process_bytes"], 1500);
  EXPECT_TRUE(Json::parse(report_json({})).is_object());
}

TEST(Report, TheSummaryHasDetailsOnlyWhenAsked) {
  const Report report = some_report();
  const std::string brief = format_report(report, false);
  const std::string details = format_report(report, true);
  EXPECT_TRUE(details.starts_with(brief));
  EXPECT_NE(brief.find(report.plan), std::string::npos);
  EXPECT_NE(brief.find("4 tokens generated in 5 steps"), std::string::npos) << brief;
  EXPECT_EQ(brief.find("dispatch"), std::string::npos);
  EXPECT_NE(details.find("dispatch"), std::string::npos);
}

}  // namespace
}  // namespace pentafold
