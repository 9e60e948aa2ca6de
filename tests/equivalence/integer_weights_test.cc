// Weights in integers: every plan gives the bits of one rank, the cpu those of the reference, and
// the shipped checkpoint stays near itself (docs/numerics.md has the figures).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "support/run_plan.h"
#include "support/tiny_models.h"
#include "support/validation_text.h"

namespace pentafold::testing {
namespace {

// Groups that are neither whole leaves nor multiples of the kernels' steps.
ModelSpec odd_model(ModelSpec model) {
  model.d = 140;
  model.head_dim = 20;
  model.expert_hidden = 200;  // 8 leaves of 25
  if (model.shared_hidden > 0) model.shared_hidden = 144;
  if (model.dense_hidden > 0) model.dense_hidden = 16 * 70;
  return model;
}

class IntegerWeights : public ::testing::TestWithParam<NumberFormat> {};

TEST_P(IntegerWeights, EveryPlanGivesTheBitsOfOneRank) {
  const Scenario scenario{{19, 5, 8}, 3, 7, 3, {}, {}};
  std::size_t plans = 0;
  for (ModelSpec model : tiny_models()) {
    model = odd_model(model);
    Plan alone = make_plan({}, model);
    const Outcome stored = PlanRunner(alone, model).run(scenario);
    alone.weights = weights_in(GetParam());
    const Outcome expected = PlanRunner(alone, model).run(scenario);
    EXPECT_NE(expected.logits_hash, stored.logits_hash) << "nothing was held in integers";
    for (const Degrees& degrees : legal_degrees(model, 8, PlacementStyle::Blocked)) {
      if (plans++ % 5 != 0) continue;
      Plan plan = make_plan(degrees, model);
      plan.weights = weights_in(GetParam());
      EXPECT_EQ(PlanRunner(plan, model).run(scenario), expected)
          << model.name << " " << to_string(degrees);
    }
  }
}

TEST_P(IntegerWeights, TheReferenceDeviceGivesTheSameBits) {
  const Scenario scenario{{11, 3}, 2, 512, 8, {}, {}};
  for (ModelSpec model : {tiny_qwen2_moe(), tiny_llama()}) {
    model = odd_model(model);
    Plan plan = make_plan({}, model);
    plan.weights = weights_in(GetParam());
    EXPECT_EQ(PlanRunner(plan, model).run(scenario),
              PlanRunner(plan, model, "reference").run(scenario))
        << model.name;
  }
}

// One part in integers, the others in floats.
TEST(IntegerWeightsOfParts, GiveTheSameBitsUnderPlans) {
  const ModelSpec model = odd_model(tiny_qwen2_moe());
  const Scenario scenario{{9, 4}, 2, 512, 8, {}, {}};
  for (const WeightFormats& formats :
       {WeightFormats{NumberFormat::INT4, NumberFormat::INT8, NumberFormat::BF16, {}},
        WeightFormats{NumberFormat::F32, NumberFormat::INT4, NumberFormat::INT8,
                      NumberFormat::F16}}) {
    Plan one = make_plan({}, model);
    Plan split_up = make_plan({1, 1, 2, 2, 2, 2}, model);
    one.weights = split_up.weights = formats;
    EXPECT_EQ(PlanRunner(split_up, model).run(scenario), PlanRunner(one, model).run(scenario));
  }
}

TEST(IntegerWeightsError, TheShippedCheckpointStaysNearItself) {
  Plan plan = make_plan({}, shipped_model());
  const ValidationScore stored = validation_score(plan);
  const auto measured = [&](NumberFormat format) {
    plan.weights = weights_in(format);
    const ScoreDistance d = distance(validation_score(plan), stored);
    std::printf(
        "weights %s: perplexity %.4f (stored %.4f), logits differ by %.4f rms, %.3f at most\n",
        to_string(format), std::exp(stored.nats + d.nats), std::exp(stored.nats), d.rms, d.worst);
    return d;
  };
  const ScoreDistance eight = measured(NumberFormat::INT8);
  EXPECT_LT(std::abs(eight.nats), 0.005);
  EXPECT_GT(eight.rms, 0);
  EXPECT_LT(eight.rms, 0.06);
  EXPECT_LT(eight.worst, 4.0);
  const ScoreDistance four = measured(NumberFormat::INT4);
  EXPECT_LT(std::abs(four.nats), 0.03);
  EXPECT_LT(four.rms, 0.35);
  EXPECT_LT(four.worst, 8.0);
  EXPECT_GT(four.rms, eight.rms);
}

INSTANTIATE_TEST_SUITE_P(Formats, IntegerWeights,
                         ::testing::Values(NumberFormat::INT8, NumberFormat::INT4),
                         [](const auto& instance) { return to_string(instance.param); });

}  // namespace
}  // namespace pentafold::testing
