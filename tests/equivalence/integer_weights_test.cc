// Weights in integers: every plan gives the bits of one rank, the cpu those of the reference, and
// the shipped checkpoint stays near itself (docs/numerics.md has the figures).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>

#include "spec/load_model.h"
#include "support/run_plan.h"
#include "support/tiny_models.h"

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

// The validation text that the checkpoint was not trained on: 20 windows of 256 tokens.
constexpr std::int64_t kWindow = 256;
constexpr std::int64_t kWindows = 20;

std::vector<std::int32_t> validation_tokens() {
  std::ifstream file(std::string(PENTAFOLD_SOURCE_DIR) + "/models/tiny-moe/training/valid.bin",
                     std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    std::uint16_t token = 0;
    std::memcpy(&token, bytes.data() + i, 2);
    tokens.push_back(token);
  }
  return tokens;
}

struct Score {
  double nats = 0;            // per token: the logarithm of the perplexity
  std::vector<float> logits;  // (windows, window, vocab)
};

Score score(const WeightFormats& formats) {
  const std::string folder = std::string(PENTAFOLD_SOURCE_DIR) + "/models/tiny-moe";
  auto input = load_model(folder);
  EXPECT_TRUE(input.ok());
  const ModelSpec& model = input->model;
  const std::vector<std::int32_t> tokens = validation_tokens();
  std::vector<Request> requests;
  for (std::int64_t w = 0; w < kWindows; ++w) {
    Request request;
    request.id = RequestId(w);
    const auto from = tokens.begin() + w * (kWindow + 1);
    request.prompt.assign(from, from + kWindow);
    request.max_tokens = 1;
    requests.push_back(request);
  }
  auto source = WeightSource::open_checkpoint(input->checkpoint_dir, model);
  EXPECT_TRUE(source.ok());
  Plan plan = make_plan({}, model);
  plan.weights = formats;
  EngineOptions options;
  options.all_logits = true;
  options.max_positions = kWindow + 1;
  options.blocks_per_group = blocks_needed(plan, requests);
  auto engine = Engine::start(plan, model, *source, options);
  EXPECT_TRUE(engine.ok());
  Score out;
  out.logits.resize(static_cast<std::size_t>(kWindows * kWindow * model.vocab));
  GenerateCallbacks callbacks;
  callbacks.on_logits = [&](const LogitRow& row) {
    const std::int64_t at = row.request.value * kWindow + row.position;
    std::ranges::copy(row.logits, out.logits.begin() + at * model.vocab);
    double sum = 0;
    const float most = *std::ranges::max_element(row.logits);
    for (const float logit : row.logits) sum += std::exp(static_cast<double>(logit - most));
    const auto next = static_cast<std::size_t>(
        tokens[static_cast<std::size_t>(row.request.value * (kWindow + 1) + row.position + 1)]);
    out.nats += (std::log(sum) + most - row.logits[next]) / (kWindows * kWindow);
  };
  EXPECT_TRUE((*engine)->generate(requests, {}, callbacks).ok());
  return out;
}

struct Distance {
  double nats = 0;   // more than as stored
  double worst = 0;  // largest difference of a logit
  double mean = 0;   // root mean square
};

Distance distance(const Score& a, const Score& b) {
  Distance out{a.nats - b.nats, 0, 0};
  for (std::size_t i = 0; i < a.logits.size(); ++i) {
    const double gap = std::abs(static_cast<double>(a.logits[i]) - b.logits[i]);
    out.worst = std::max(out.worst, gap);
    out.mean += gap * gap / static_cast<double>(a.logits.size());
  }
  out.mean = std::sqrt(out.mean);
  return out;
}

TEST(IntegerWeightsError, TheShippedCheckpointStaysNearItself) {
  const Score stored = score({});
  const auto [low, high] = std::ranges::minmax(stored.logits);
  std::printf("logits as stored: %.2f to %.2f\n", low, high);
  EXPECT_NEAR(stored.nats, 3.68, 0.02);  // models/tiny-moe/README.md
  const auto report = [&](const char* name, const Distance& d) {
    std::printf("%s: perplexity %.4f (stored %.4f), logits differ by %.4f rms, %.3f at most\n",
                name, std::exp(stored.nats + d.nats), std::exp(stored.nats), d.mean, d.worst);
  };
  const Distance eight = distance(score(weights_in(NumberFormat::INT8)), stored);
  report("int8", eight);
  EXPECT_LT(std::abs(eight.nats), 0.005);
  EXPECT_GT(eight.mean, 0);
  EXPECT_LT(eight.mean, 0.06);
  EXPECT_LT(eight.worst, 4.0);
  const Distance four = distance(score(weights_in(NumberFormat::INT4)), stored);
  report("int4", four);
  EXPECT_LT(std::abs(four.nats), 0.03);
  EXPECT_LT(four.mean, 0.35);
  EXPECT_LT(four.worst, 8.0);
  EXPECT_GT(four.mean, eight.mean);
}

INSTANTIATE_TEST_SUITE_P(Formats, IntegerWeights,
                         ::testing::Values(NumberFormat::INT8, NumberFormat::INT4),
                         [](const auto& instance) { return to_string(instance.param); });

}  // namespace
}  // namespace pentafold::testing
