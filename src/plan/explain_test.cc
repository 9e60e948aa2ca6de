#include "plan/explain.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

std::string explain(const Plan& plan, const ModelSpec& model, Rank rank) {
  const auto context = LoweringContext::make(plan, model);
  if (!context.ok()) return context.error().to_string();
  return format_program(*context, lower_rank(*context, rank));
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << part << "\nis not in\n" << text;
}

TEST(Explain, SaysWhereTheRankStandsInBothMeshes) {
  Plan plan = make_plan({2, 2, 1, 2, 2, 2}, tiny_mixtral());
  plan.replicas = 3;
  const std::string text = explain(plan, tiny_mixtral(), Rank(8 + 4 + 3));
  expect_contains(text, "rank 15 of 24: replica 1, stage 1 (layers 2..3), index 3\n");
  expect_contains(text,
                  "dp2 x sp1 x tp2, expert mesh edp1 x ep2 x etp2: expert repeat 0, group 1, "
                  "shard 1\n");
  expect_contains(text, "prefill: dp group 1, sequence slice 0, tensor shard 1\n");
  expect_contains(text, "tensor group [14 15], member 1\n");
  expect_contains(text, "stage group [12 13 14 15], member 3\n");
}

TEST(Explain, NamesWeightsAsTheCheckpointDoes) {
  const std::string text =
      explain(make_plan({1, 1, 1, 2, 2, 1}, tiny_mixtral()), tiny_mixtral(), Rank(1));
  expect_contains(text, "model.layers.0.self_attn.q_proj.weight[16:32, 0:24]");
  expect_contains(text, "layer 3: 4 experts: 4 units [0:16], 5 units [0:16], 6");
  expect_contains(text, "model.layers.3.block_sparse_moe.experts.4.w2.weight[0:24, 0:16]");
  expect_contains(text, "lm_head.weight[26:53, 0:24]");
}

TEST(Explain, ShowsPeersOfTheHandOver) {
  const Plan plan = make_plan({2, 1, 2, 1, 1, 1}, tiny_mixtral());
  expect_contains(explain(plan, tiny_mixtral(), Rank(1)), "send: hidden to ranks [3]\n");
  expect_contains(explain(plan, tiny_mixtral(), Rank(3)), "recv: hidden from ranks [1]\n");
  expect_contains(explain(plan, tiny_mixtral(), Rank(1)), "heads 4:8 of all rows");
}

// Every step has its own numbered line, and every kind of step of every family can be written.
TEST(Explain, OneLineAStep) {
  for (const ModelSpec& model : tiny_models()) {
    Plan plan = make_plan({2, 1, 2, 1, model.has_experts() ? 2 : 1, 1}, model);
    if (model.has_experts()) plan.capacity_factor = 1.5;
    const auto context = LoweringContext::make(plan, model);
    ASSERT_TRUE(context.ok());
    for (std::int64_t rank = 0; rank < plan.world(); ++rank) {
      const RankProgram program = lower_rank(*context, Rank(rank));
      const std::string text = format_program(*context, program);
      const std::size_t steps = program.prefill.steps.size() + program.decode.steps.size();
      EXPECT_EQ(static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')), steps + 10);
      for (const Step& step : program.prefill.steps) {
        const std::string line = format_step(model, program.prefill, step);
        EXPECT_TRUE(line.starts_with(std::string(step_name(step)) + ": ")) << line;
        expect_contains(text, line + "\n");
      }
    }
  }
}

}  // namespace
}  // namespace pentafold::testing
