#include "predict/routing_draw.h"

#include <gtest/gtest.h>

#include <numeric>

#include "support/tiny_models.h"

namespace pentafold {
namespace {

using testing::tiny_mixtral;

Plan plan_with(std::int64_t dp, std::int64_t ep, std::int64_t etp, const ModelSpec& model) {
  Plan plan;
  StagePlan stage;
  stage.layers = model.num_layers();
  stage.dp = dp;
  stage.ep = ep;
  stage.etp = etp;
  plan.stages = {stage};
  return plan;
}

std::vector<RowPlace> rows_over(std::int64_t count, std::int64_t ranks) {
  std::vector<RowPlace> out;
  for (std::int64_t r = 0; r < count; ++r) out.push_back({r % 3, r, r % ranks});
  return out;
}

std::vector<RankExperts> draw(const Plan& plan, const ModelSpec& model,
                              const ExpertWeights& weights) {
  const auto context = LoweringContext::make(plan, model);
  return draw_layer(*context, StageId(0), 0, rows_over(60, plan.world()), weights);
}

std::vector<std::int64_t> by_expert(const std::vector<RankExperts>& ranks) {
  std::vector<std::int64_t> sum(ranks.front().rows_of_expert.size());
  for (const RankExperts& rank : ranks) {
    for (std::size_t e = 0; e < sum.size(); ++e) sum[e] += rank.rows_of_expert[e];
  }
  return sum;
}

TEST(RoutingDraw, WhatIsSentIsReceivedAndComputed) {
  const ModelSpec model = tiny_mixtral();
  for (const Plan& plan : {plan_with(1, 1, 1, model), plan_with(4, 4, 1, model),
                           plan_with(4, 2, 2, model), plan_with(4, 2, 1, model)}) {
    const auto ranks = draw(plan, model, {});
    RankExperts sum;
    for (const RankExperts& rank : ranks) {
      sum.rows_sent += rank.rows_sent;
      sum.rows_received += rank.rows_received;
      sum.answers_sent += rank.answers_sent;
      sum.answers_received += rank.answers_received;
      EXPECT_EQ(rank.answers_sent, std::accumulate(rank.rows_of_expert.begin(),
                                                   rank.rows_of_expert.end(), std::int64_t{0}));
      EXPECT_LE(rank.remote_rows, rank.rows_received);
      EXPECT_LE(rank.remote_answers, rank.answers_received);
    }
    EXPECT_EQ(sum.rows_sent, sum.rows_received);
    EXPECT_EQ(sum.answers_sent, sum.answers_received);
    EXPECT_EQ(sum.answers_sent, 60 * model.top_k * plan.stages[0].etp) << describe(plan);
    if (plan.world() == 1) {
      EXPECT_EQ(ranks[0].remote_rows + ranks[0].remote_answers, 0);
    }
  }
}

TEST(RoutingDraw, RowsChooseAlikeUnderEveryPlan) {
  const ModelSpec model = tiny_mixtral();
  const auto one = by_expert(draw(plan_with(1, 1, 1, model), model, {}));
  EXPECT_EQ(one, by_expert(draw(plan_with(4, 4, 1, model), model, {})));
  EXPECT_EQ(one, by_expert(draw(plan_with(4, 2, 1, model), model, {})));
}

TEST(RoutingDraw, FollowsTheProfile) {
  const ModelSpec model = tiny_mixtral();
  ExpertWeights weights(model.layers.size());
  weights[0].assign(static_cast<std::size_t>(model.experts), 0.0);
  weights[0][1] = 1;
  weights[0][2] = 1;
  const auto counts = by_expert(draw(plan_with(1, 1, 1, model), model, weights));
  EXPECT_EQ(counts[1], 60);  // top-2: both of them, always
  EXPECT_EQ(counts[2], 60);
}

TEST(RoutingDraw, AProfileOfARunCountsItsChoices) {
  RoutingStats routing;
  routing.resize(2, 3);
  routing.layers[1].tokens = 4;
  routing.layers[1].assigned = {0, 3, 1};
  const ExpertWeights weights = weights_of_routing(routing);
  ASSERT_EQ(weights.size(), 2U);
  EXPECT_TRUE(weights[0].empty());
  EXPECT_EQ(weights[1], (std::vector<double>{0.5, 3.5, 1.5}));
}

}  // namespace
}  // namespace pentafold
