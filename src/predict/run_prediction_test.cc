#include "predict/run_prediction.h"

#include <gtest/gtest.h>

#include <cmath>

#include "plan/lower.h"
#include "plan/memory.h"
#include "predict/machine_fit.h"
#include "predict/step_work.h"
#include "support/measured_machine.h"
#include "support/tiny_models.h"

namespace pentafold {
namespace {

using testing::round_machine;
using testing::tiny_llama;
using testing::tiny_mixtral;
using testing::tiny_models;

std::vector<Request> requests_of(std::int64_t count, std::int64_t prompt, std::int64_t answer) {
  std::vector<Request> out;
  for (std::int64_t r = 0; r < count; ++r) {
    out.push_back(
        {RequestId(r), std::vector<std::int32_t>(static_cast<std::size_t>(prompt), 1), answer, {}});
  }
  return out;
}

Plan plan_with(const ModelSpec& model, std::int64_t dp, std::int64_t tp) {
  Plan plan;
  StagePlan stage;
  stage.layers = model.num_layers();
  stage.dp = dp;
  stage.tp = tp;
  stage.ep = model.has_experts() ? dp * tp : 1;
  plan.stages = {stage};
  return plan;
}

Report predict(const Plan& plan, const ModelSpec& model, const MachineSpec& machine,
               std::vector<Request> requests) {
  constexpr std::int64_t kBlocks = 1000;
  const RunToPredict run{plan, model, machine, scheduler_limits(plan, kBlocks), {}};
  auto report = predict_run(run, std::move(requests));
  EXPECT_TRUE(report.ok()) << report.error().to_string();
  return std::move(report).value();
}

double seconds_of(const Report& report, StepKind kind) {
  double sum = 0;
  for (const StepReport& step : report.step_reports) sum += step.kind == kind ? step.seconds : 0;
  return sum;
}

TEST(RunPrediction, OneRankTakesTheSumOfItsSteps) {
  for (const ModelSpec& model : tiny_models()) {
    const Report report =
        predict(plan_with(model, 1, 1), model, round_machine(), requests_of(2, 20, 5));
    double sum = 0;
    for (const auto& operators : report.operators) {
      for (const auto& [name, time] : operators) sum += time.seconds;
    }
    EXPECT_NEAR(report.run_s, sum, 1e-9 * sum) << model.name;
    EXPECT_EQ(report.steps, 5);  // a prefill, which gives the first token, and 4 decodes
  }
}

TEST(RunPrediction, ProductsCostTheirRowsAndWeights) {
  // Of a dense model: every matrix once a row, the head for the row that samples.
  const ModelSpec model = tiny_llama();
  const Report report =
      predict(plan_with(model, 1, 1), model, round_machine(), requests_of(1, 9, 1));
  const auto padded = [](std::int64_t n) { return static_cast<double>((n + 15) / 16 * 16); };
  const auto d = static_cast<double>(model.d);
  const auto q = static_cast<double>(model.q_width());
  const double layer = padded(model.q_width()) * d + 2 * padded(model.kv_width()) * d +
                       padded(model.d) * q + 2 * padded(model.dense_hidden) * d +
                       padded(model.d) * static_cast<double>(model.dense_hidden);
  const double all = 9 * layer * static_cast<double>(model.num_layers()) + padded(model.vocab) * d;
  EXPECT_NEAR(report.run_s, all * 1e-9, all * 1e-12);
}

// Only reading the cache takes time: its bytes, at the type that the plan names.
TEST(RunPrediction, TheCacheCostsItsBytes) {
  const ModelSpec model = tiny_llama();
  MachineSpec machine = round_machine();
  machine.product_alone.seconds = {{1e-18, 1e-18}, {1e-18, 1e-18}};
  machine.product_shared = machine.product_alone;
  machine.cache_byte = {{1e6}, {1e-6}};
  for (const NumberFormat kv :
       {NumberFormat::F32, NumberFormat::BF16, NumberFormat::F16, NumberFormat::INT8}) {
    Plan plan = plan_with(model, 1, 1);
    plan.kv = kv;
    const Report report = predict(plan, model, machine, requests_of(1, 20, 3));
    const auto bytes = static_cast<double>(2 * kv_tile_bytes(run_kv_type(plan), 1, model.head_dim) *
                                           model.kv_heads * model.num_layers());
    // Two decode steps, over 20 and 21 earlier tokens.
    EXPECT_NEAR(seconds_of(report, StepKind::Decode), 41 * bytes * 1e-6, 41 * bytes * 1e-12)
        << to_string(kv);
  }
}

TEST(RunPrediction, MoreRowsNeverTakeLess) {
  const ModelSpec model = tiny_mixtral();
  double last = 0;
  for (const std::int64_t prompt : {1, 2, 8, 17, 64}) {
    const double seconds = seconds_of(
        predict(plan_with(model, 2, 1), model, round_machine(), requests_of(2, prompt, 1)),
        StepKind::Prefill);
    EXPECT_GE(seconds, last);
    last = seconds;
  }
}

TEST(RunPrediction, DataParallelRanksFillTheCores) {
  // A dense model without exchanges: two ranks on two cores halve the time, four do no better.
  const ModelSpec model = tiny_llama();
  const auto run_s = [&](std::int64_t dp) {
    return predict(plan_with(model, dp, 1), model, round_machine(), requests_of(4, 32, 4)).run_s;
  };
  EXPECT_NEAR(run_s(2), run_s(1) / 2, 1e-6 * run_s(1));
  EXPECT_NEAR(run_s(4), run_s(2), 1e-6 * run_s(1));
}

TEST(RunPrediction, ExchangesCostTheirDelays) {
  const ModelSpec model = tiny_mixtral();
  MachineSpec slow = round_machine();
  slow.exchange_delay.y = {20e-6, 20e-6};
  const auto decode_s = [&](const MachineSpec& machine) {
    return seconds_of(predict(plan_with(model, 1, 2), model, machine, requests_of(2, 4, 2)),
                      StepKind::Decode);
  };
  // Embedding, all-reduce (twice), dispatch, combine, slices of each layer, logits.
  const auto exchanges = static_cast<double>(2 + 5 * model.num_layers());
  EXPECT_NEAR(decode_s(slow) - decode_s(round_machine()), exchanges * 10e-6, 1e-9);
}

TEST(RunPrediction, EveryPlanOfEveryModelEnds) {
  for (const ModelSpec& model : tiny_models()) {
    for (const auto& [dp, sp, tp, pp] : std::vector<std::array<std::int64_t, 4>>{
             {2, 1, 2, 1}, {1, 2, 1, 1}, {1, 1, 1, 2}, {2, 1, 1, 2}}) {
      Plan plan;
      plan.microbatches = 2;
      plan.replicas = 2;
      for (std::int64_t s = 0; s < pp; ++s) {
        StagePlan stage;
        stage.layers = (model.num_layers() + s) / pp;
        stage.dp = dp;
        stage.sp = sp;
        stage.tp = tp;
        stage.ep = model.has_experts() ? stage.ranks() : 1;
        plan.stages.push_back(stage);
      }
      if (!folding_failures(plan, model).empty()) continue;
      const Report report = predict(plan, model, round_machine(), requests_of(5, 11, 3));
      EXPECT_TRUE(std::isfinite(report.run_s)) << model.name << " " << describe(plan);
      ASSERT_EQ(report.requests.size(), 5U);
      for (const RequestReport& request : report.requests) {
        EXPECT_EQ(request.tokens.size(), 3U);
        EXPECT_LT(request.ttft_s, request.last_s);
      }
    }
  }
}

TEST(MachineFit, FindsTheLinesThatMadeAReport) {
  const ModelSpec model = tiny_mixtral();
  MachineSpec truth = round_machine();
  truth.host = {{"norm", {2e-7, 5e-10}},
                {"expert_mlp", {1e-6, 7e-10}},
                {"combine", {0, 3e-9}},
                {"residual", {4e-8, 0}}};
  const Plan plan = plan_with(model, 1, 1);
  const auto requests = requests_of(1, 60, 9);
  const Report measured = predict(plan, model, truth, requests);
  MachineSpec found = round_machine();
  const RunToPredict run{plan, model, found, scheduler_limits(plan, 1000), {}};
  ASSERT_TRUE(fit_host_lines({run, requests, measured}, found).ok());
  for (const auto& [name, line] : truth.host) {
    EXPECT_NEAR(found.host.at(name).call_s, line.call_s, 1e-9) << name;
    EXPECT_NEAR(found.host.at(name).unit_s, line.unit_s, 1e-12) << name;
  }
  EXPECT_TRUE(found.host.contains("seq_to_heads"));  // one rank never takes it
}

TEST(MachineFit, FindsTheEnginesOwnCosts) {
  MachineSpec machine = round_machine();  // two cores: eight ranks take four turns each
  fit_step_line({1, 35e-6, 10e-6}, {8, 80e-6, 40e-6}, machine);
  EXPECT_NEAR(machine.step.unit_s, 5e-6, 1e-12);
  EXPECT_NEAR(machine.step.call_s, 20e-6, 1e-12);
  fit_step_line({1, 5e-6, 10e-6}, {8, 30e-6, 40e-6}, machine);  // noise: nothing is left
  EXPECT_DOUBLE_EQ(machine.step.unit_s + machine.step.call_s, 0);
}

}  // namespace
}  // namespace pentafold
