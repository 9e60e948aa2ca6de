#include "predict/served_pool.h"

#include <gtest/gtest.h>

#include "plan/capacity.h"
#include "spec/load_shape.h"

namespace pentafold {
namespace {

struct ServedPool : testing::Test {
  ModelShape model = load_shape("qwen3-30b-a3b").value().model;
  ClusterSpec cluster = default_cluster(find_gpu("h200-sxm").value(), 8);
  EngineProfile engine = find_engine("vllm", "h200-sxm").value();
  Workload workload{1000, 200, {}, {}, 0};
  StepCost costs{model, cluster, engine, workload};

  static ServedWorker worker(std::int64_t dp, std::int64_t tp) {
    Worker w;
    w.stage_layers = {48};
    w.dp = dp;
    w.tp = tp;
    w.ep = dp * tp;
    return {w, 1, Role::Both, 0.9};
  }
};

// So many blocks fit, and one sequence's worth more does not.
TEST_F(ServedPool, BlocksFillTheMemoryAndNoMore) {
  for (const auto& served : {worker(1, 1), worker(1, 4), worker(4, 2)}) {
    const std::int64_t blocks = kv_blocks_per_group(costs, served, 16, 1200);
    ASSERT_GT(blocks, 0);
    Worker w = served.worker;
    w.chunk = std::min(engine.step_tokens, w.chunk);
    const double peak = worst_peak_share(costs, w);
    const double limit = 0.9 * cluster.gpu.memory_bytes;
    const RankBytes one = worker_bytes(model, w, 1200, peak);
    const double sequences = static_cast<double>(blocks) * 16 / 1200;
    EXPECT_LE(one.total() - one.kv + (sequences - 1) * one.kv, limit);
    EXPECT_GT(one.total() - one.kv + (sequences + 1) * one.kv, limit);
  }
}

TEST_F(ServedPool, PricesAndLimitsAreThoseOfTheWorker) {
  const auto pool = served_pool(costs, worker(2, 2));
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ(pool->gpus, 4);
  EXPECT_EQ(pool->limits.groups, 2);
  EXPECT_EQ(pool->admission_s, engine.admission_s);
  StepLoad load;
  load.groups.resize(2);
  load.groups[0].decodes = 4;
  load.groups[0].decode_context = 4000;
  EXPECT_GT(pool->price.step(load), 0);
  EXPECT_GT(pool->price.decode_steps(load, 10), 9 * pool->price.step(load));
}

TEST_F(ServedPool, WhatDoesNotFitIsRefused) {
  cluster.gpu.memory_bytes = 20e9;
  const auto pool = served_pool(costs, worker(1, 1));
  ASSERT_FALSE(pool.ok());
  EXPECT_NE(pool.error().message.find("no memory for KV"), std::string::npos);
}

}  // namespace
}  // namespace pentafold
