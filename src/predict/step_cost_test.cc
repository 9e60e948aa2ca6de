#include "predict/step_cost.h"

#include <gtest/gtest.h>

#include "predict/collective_cost.h"

namespace pentafold {
namespace {

constexpr double kTera = 1e12;

double at(const Cost& cost, Bound bound) {
  return cost.by[static_cast<std::size_t>(bound)];
}

// A device of round numbers: 100 TFLOP/s, 1 TB/s.
ClusterSpec device() {
  ClusterSpec cluster;
  cluster.gpu.memory_bytes_per_s = kTera;
  cluster.gpu.bf16_flops = 100 * kTera;
  cluster.gpu.fp8_flops = 200 * kTera;
  cluster.links = {{"near", 8, 100e9, 1e-6}, {"far", kEveryDevice, 10e9, 5e-6}};
  return cluster;
}

// Everything reaches its peak and nothing is free of charge but the operations themselves.
CostConstants ideal() {
  CostConstants c;
  c.gemm_bf16 = c.gemm_low = c.grouped_gemm = c.attention = 1;
  c.stream = c.expert_stream = c.kv_stream = c.link = 1;
  c.min_rows = 1;
  c.layer_s = c.step_s = c.request_s = c.collective_s = 0;
  return c;
}

// One layer: attention of 8 heads over 2 KV heads of 64, and 8 experts of which 2 are used.
ModelShape one_layer() {
  ModelShape model;
  model.d = 1024;
  model.vocab = 1000;
  LayerShape layer;
  layer.weights = {{"qkvo", 4'000'000, Split::Tensor, WeightPart::Attention, true},
                   {"kv", 1'000'000, Split::KvHeads, WeightPart::Attention, true},
                   {"experts", 80'000'000, Split::Experts, WeightPart::Expert, true}};
  layer.mixer.heads = 8;
  layer.mixer.kv_heads = 2;
  layer.mixer.kv_values = 2 * 2 * 64;
  layer.mixer.prefill_pair_flops = layer.mixer.decode_pair_flops = 4 * 8 * 64;
  layer.ffn.experts = 8;
  layer.ffn.top_k = 2;
  layer.ffn.expert_hidden = 48;
  model.kinds = {layer};
  model.layers = {0};
  model.outer = {{"head", 1'024'000, Split::Vocab, WeightPart::Head, true}};
  return model;
}

class StepCostTest : public ::testing::Test {
 protected:
  StepCost costs() const { return {model, cluster, constants, workload}; }

  ModelShape model = one_layer();
  ClusterSpec cluster = device();
  CostConstants constants = ideal();
  Workload workload{1000, 1, {}, {}, 0};
  Worker worker;
};

TEST(Cost, AddsUp) {
  Cost a;
  a.add_roofline(3, 2, Bound::Hbm);
  a.add_roofline(1, 2, Bound::Kv);
  EXPECT_EQ(a.seconds, 5);
  EXPECT_EQ(at(a, Bound::Compute), 3);
  EXPECT_EQ(at(a, Bound::Kv), 2);
  a += a * 2;
  EXPECT_EQ(a.seconds, 15);
  EXPECT_EQ(at(a, Bound::Compute), 9);
}

// One row: 5e6 parameters of 2 bytes, and 1000 keys of 256 values, at 1 TB/s.
TEST_F(StepCostTest, OneRowReadsWeightsAndCache) {
  const Cost cost = costs().tensor_decode(0, worker, 1);
  EXPECT_NEAR(at(cost, Bound::Hbm), 10e-6, 1e-12);
  EXPECT_NEAR(at(cost, Bound::Kv), 1000 * 256 * 2 / kTera, 1e-15);
  EXPECT_NEAR(cost.seconds, 10e-6 + 0.512e-6, 1e-12);
}

// 1000 rows: 2 x 1000 x 5e6 operations at 100 TFLOP/s.
TEST_F(StepCostTest, ManyRowsCompute) {
  const Cost cost = costs().tensor_decode(0, worker, 1000);
  EXPECT_NEAR(at(cost, Bound::Compute), 100e-6, 1e-12);
  EXPECT_EQ(at(cost, Bound::Hbm), 0);
  worker.precision.linear = NumberFormat::FP8;
  EXPECT_NEAR(at(costs().tensor_decode(0, worker, 1000), Bound::Compute), 50e-6, 1e-12);
}

// The KV projection and the cache are halved once, then repeated; the rest is divided.
TEST_F(StepCostTest, TensorRanksShareWhatTheyCan) {
  worker.tp = 4;
  const Cost cost = costs().tensor_decode(0, worker, 1);
  EXPECT_NEAR(at(cost, Bound::Hbm), (4e6 / 4 + 1e6 / 2) * 2 / kTera, 1e-15);
  EXPECT_NEAR(at(cost, Bound::Kv), 1000 * 256 * 2 / kTera / 2, 1e-15);
  const double reduce = all_reduce_seconds(cluster, constants, {4, 4}, 1024 * 2);
  const double gather = all_gather_seconds(cluster, constants, {4, 4}, 1024 * 2);
  EXPECT_NEAR(at(cost, Bound::Link) + at(cost, Bound::Latency), reduce + gather, 1e-15);
  // sp joins tp in decode.
  worker.tp = worker.sp = 2;
  EXPECT_NEAR(costs().tensor_decode(0, worker, 1).seconds, cost.seconds, 1e-15);
}

TEST_F(StepCostTest, LatentCacheIsReadWholeByEveryRank) {
  model.kinds[0].mixer.kind = MixerKind::Latent;
  model.kinds[0].mixer.kv_heads = 1;
  const double alone = at(costs().tensor_decode(0, worker, 16), Bound::Kv);
  EXPECT_GT(alone, 0);
  worker.tp = 8;
  EXPECT_DOUBLE_EQ(at(costs().tensor_decode(0, worker, 16), Bound::Kv), alone);
}

TEST_F(StepCostTest, WindowsAndSelectionBoundTheKeysRead) {
  const double whole = at(costs().tensor_decode(0, worker, 4), Bound::Kv);
  model.kinds[0].mixer.window = 100;
  EXPECT_NEAR(at(costs().tensor_decode(0, worker, 4), Bound::Kv), whole / 10, 1e-15);
  model.kinds[0].mixer.window = 0;
  model.kinds[0].mixer.selected = 250;
  EXPECT_NEAR(at(costs().tensor_decode(0, worker, 4), Bound::Kv), whole / 4, 1e-15);
}

// States are read and written, in fp32.
TEST_F(StepCostTest, StatesAreReadAndWritten) {
  model.kinds[0].mixer.kv_values = 0;
  model.kinds[0].mixer.decode_pair_flops = 0;
  model.kinds[0].mixer.state_values = 1'000'000;
  EXPECT_NEAR(at(costs().tensor_decode(0, worker, 3), Bound::Kv), 3 * 8e6 / kTera, 1e-12);
}

// 10e6 parameters an expert: 2 of 8 for one row, all for many; never top_k alone.
TEST_F(StepCostTest, DistinctExpertsAreRead) {
  EXPECT_NEAR(costs().experts(0, worker, 1, 1).seconds, 2 * 20e6 / kTera, 1e-12);
  const double touched = 8 * (1 - 0.75 * 0.75 * 0.75 * 0.75);
  EXPECT_NEAR(costs().experts(0, worker, 4, 1).seconds, touched * 20e6 / kTera, 1e-10);
  worker.precision.experts = NumberFormat::FP8;
  EXPECT_NEAR(costs().experts(0, worker, 4, 1).seconds,
              touched * 10e6 * bytes_per_value(NumberFormat::FP8) / kTera, 1e-10);
  worker.precision.experts = NumberFormat::BF16;
  EXPECT_NEAR(costs().experts(0, worker, 4000, 1).seconds, 2 * 8000 * 10e6 / (100 * kTera), 1e-6);
  EXPECT_EQ(costs().experts(0, worker, 0, 1).seconds, 0);
}

TEST_F(StepCostTest, ExpertShardsHalveTheBytesAndPayDispatch) {
  const Cost alone = costs().experts(0, worker, 4, 1);
  worker.tp = worker.etp = 2;
  const Cost halved = costs().experts(0, worker, 4, 1);
  EXPECT_NEAR(at(halved, Bound::Hbm), at(alone, Bound::Hbm) / 2, 1e-12);
  EXPECT_GT(at(halved, Bound::Latency), 0);
  EXPECT_GT(at(halved, Bound::Link), 0);
}

// A peak makes the busiest group slower, and overlapping hides bytes but no latency.
TEST_F(StepCostTest, PeaksCostAndOverlapHides) {
  worker.dp = worker.ep = 4;
  const Cost even = costs().experts(0, worker, 4000, 1);
  EXPECT_GT(costs().experts(0, worker, 4000, 1.5).seconds, 1.3 * even.seconds);
  constants.hidden_comm = 1;
  const Cost hidden = costs().experts(0, worker, 4000, 1);
  EXPECT_EQ(at(hidden, Bound::Link), 0);
  EXPECT_DOUBLE_EQ(at(hidden, Bound::Latency), at(even, Bound::Latency));
}

// Causal: n (n + 1) / 2 pairs, however the prompt is cut; every cut pays the layer again.
TEST_F(StepCostTest, PrefillAttendsToEveryPairOnce) {
  constants.layer_s = 1;
  worker.chunk = 1000;
  const Cost whole = costs().tensor_prefill(0, worker, 1);
  const double pairs = 1000.0 * 1001 / 2 * 4 * 8 * 64 / (100 * kTera);
  const double weights = 2 * 1000 * 5e6 / (100 * kTera);
  EXPECT_NEAR(at(whole, Bound::Compute), pairs + weights, 1e-12);
  EXPECT_EQ(at(whole, Bound::Fixed), 1);
  worker.chunk = 300;  // 300 + 300 + 300 + 100
  const Cost cut = costs().tensor_prefill(0, worker, 1);
  EXPECT_NEAR(at(cut, Bound::Compute), pairs + weights, 1e-12);
  EXPECT_EQ(at(cut, Bound::Fixed), 4);
  worker.chunk = 4000;
  EXPECT_NEAR(at(costs().tensor_prefill(0, worker, 4), Bound::Compute), 4 * (pairs + weights),
              1e-12);
}

TEST_F(StepCostTest, OncePerStepAndMicrobatch) {
  constants.step_s = 1;
  constants.request_s = 0.25;
  EXPECT_EQ(costs().fixed(8).seconds, 3);
  worker.tp = 2;
  EXPECT_NEAR(costs().logits(worker, 1).seconds, 1'024'000.0 / 2 * 2 / kTera, 1e-15);
  EXPECT_EQ(costs().hand_over(worker, 10).seconds, 0);
  worker.stage_layers = {1, 1};
  EXPECT_NEAR(costs().hand_over(worker, 10).seconds,
              send_seconds(cluster, constants, 4, 10.0 * 1024 * 2 / 2), 1e-15);
}

TEST(Chunks, CoverThePrompt) {
  EXPECT_EQ(chunks_of(1000, 1, 300).full, 3);
  EXPECT_EQ(chunks_of(1000, 1, 300).rest, 100);
  EXPECT_EQ(chunks_of(1000, 1, 300).count(), 4);
  EXPECT_EQ(chunks_of(1000, 1, 1000).count(), 1);
  EXPECT_EQ(chunks_of(1000, 3, 3500).rest, 3000);
  EXPECT_EQ(prompts_per_pass(1000, 3500), 3);
  EXPECT_EQ(prompts_per_pass(1000, 10), 1);
}

}  // namespace
}  // namespace pentafold
