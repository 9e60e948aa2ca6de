#include "predict/step_cost.h"

#include <gtest/gtest.h>

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

// Nothing but the operators themselves.
EngineProfile bare() {
  EngineProfile engine;
  engine.layer_s = engine.step_s = engine.request_s = 0;
  return engine;
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
  StepCost costs() const { return {model, cluster, engine, workload}; }
  Operators operators() const { return {cluster.gpu, cluster.links}; }
  double gemm(double rows, double params, KernelFormat format = KernelFormat::Bf16) const {
    return operators().gemm({rows, params / 1024, 1024, format}).seconds;
  }
  double attend(double sequences, double context, double share = 1) const {
    return operators()
        .decode_attention({sequences, context, 256 * 2 * share, 4.0 * 8 * 64 * share, false})
        .seconds;
  }
  double experts(double rows, double touched, double params, KernelFormat format) const {
    GroupedGemm work{rows / touched, touched, params, 1024, 0, format};
    return operators().grouped_gemm(work).seconds;
  }

  ModelShape model = one_layer();
  ClusterSpec cluster = device();
  EngineProfile engine = bare();
  Workload workload{1000, 1, {}, {}, 0, {}};
  Worker worker;
};

TEST(Cost, AddsUp) {
  Cost a;
  a.add({3, Provenance::Measured, 0.1, Binding::Compute}, Bound::Hbm, 1);
  a.add({2, Provenance::Analytic, 0.5, Binding::Memory}, Bound::Kv, 2);
  EXPECT_EQ(a.seconds, 7);
  EXPECT_EQ(at(a, Bound::Compute), 3);
  EXPECT_EQ(at(a, Bound::Kv), 4);
  EXPECT_DOUBLE_EQ(a.error_s, 0.3 + 2);
  EXPECT_EQ(a.from[static_cast<std::size_t>(Provenance::Analytic)], 4);
  a += a * 2;
  EXPECT_EQ(a.seconds, 21);
  EXPECT_EQ(at(a, Bound::Compute), 9);
  Cost b;
  b.add_collective({5, Provenance::Measured, 0, Binding::Memory}, 2, 2);
  EXPECT_EQ(at(b, Bound::Latency), 4);
  EXPECT_EQ(at(b, Bound::Link), 6);
}

// 5e6 parameters through products of one launch, and the cache of every sequence.
TEST_F(StepCostTest, ADecodeLayerIsItsProductsAndItsCache) {
  for (const std::int64_t rows : {1, 30, 1000}) {
    const auto n = static_cast<double>(rows);
    EXPECT_DOUBLE_EQ(costs().tensor_decode(0, worker, rows).seconds,
                     gemm(n, 5e6) + attend(n, 1000));
  }
  worker.precision.linear = NumberFormat::FP8;
  EXPECT_DOUBLE_EQ(costs().tensor_decode(0, worker, 64).seconds,
                   gemm(64, 5e6, KernelFormat::Fp8) + attend(64, 1000));
}

// The KV projection and the cache are halved once, then repeated; the rest is divided.
TEST_F(StepCostTest, TensorRanksShareWhatTheyCan) {
  worker.tp = 4;
  const CommGroup four{4, 4, 0};
  const double reduce = operators().all_reduce(four, 1024 * 2).seconds;
  const double gather = operators().all_gather(four, 1024 * 2).seconds;
  const Cost cost = costs().tensor_decode(0, worker, 1);
  const double alone =
      gemm(1, 4e6 / 4 + 1e6 / 2) +
      operators().decode_attention({1, 1000, 256.0, 4.0 * 8 * 64 / 4, false}).seconds;
  EXPECT_NEAR(cost.seconds, alone + reduce + gather, 1e-12);
  EXPECT_NEAR(at(cost, Bound::Link) + at(cost, Bound::Latency), reduce + gather, 1e-12);
  // sp joins tp in decode.
  worker.tp = worker.sp = 2;
  EXPECT_NEAR(costs().tensor_decode(0, worker, 1).seconds, cost.seconds, 1e-12);
}

// Where every rank sees all rows there is one sum after the experts and no dispatch.
TEST_F(StepCostTest, GatheredExpertsAreSummedOnce) {
  engine.exchange = RowExchange::Gathered;
  worker.tp = worker.ep = 4;
  const double reduce = operators().all_reduce({4, 4, 0}, 8 * 1024 * 2).seconds;
  const Cost tensor = costs().tensor_decode(0, worker, 8);
  const Cost moe = costs().experts(0, worker, 8, 1);
  EXPECT_NEAR(at(tensor, Bound::Link) + at(tensor, Bound::Latency), reduce, 1e-12);
  EXPECT_NEAR(at(moe, Bound::Link) + at(moe, Bound::Latency), reduce, 1e-12);
  worker.tp = 1;
  worker.dp = 4;
  EXPECT_EQ(at(costs().tensor_decode(0, worker, 8), Bound::Link), 0);
  EXPECT_GT(at(costs().experts(0, worker, 8, 1), Bound::Link), 0);
}

TEST_F(StepCostTest, LatentCacheIsReadWholeByEveryRank) {
  model.kinds[0].mixer.kind = MixerKind::Latent;
  model.kinds[0].mixer.kv_heads = 1;
  model.kinds[0].weights = {};
  const double alone = costs().tensor_decode(0, worker, 16).seconds;
  worker.tp = 8;
  const Cost shared = costs().tensor_decode(0, worker, 16);
  const double links = at(shared, Bound::Link) + at(shared, Bound::Latency);
  EXPECT_GT(shared.seconds - links, 0.8 * alone);
}

TEST_F(StepCostTest, WindowsAndSelectionBoundTheKeysRead) {
  const double weights = gemm(4, 5e6);
  model.kinds[0].mixer.window = 100;
  EXPECT_DOUBLE_EQ(costs().tensor_decode(0, worker, 4).seconds, weights + attend(4, 100));
  model.kinds[0].mixer.window = 0;
  model.kinds[0].mixer.selected = 250;
  EXPECT_DOUBLE_EQ(costs().tensor_decode(0, worker, 4).seconds, weights + attend(4, 250));
}

// States are read and written, in fp32.
TEST_F(StepCostTest, StatesAreReadAndWritten) {
  model.kinds[0].mixer.kv_values = 0;
  model.kinds[0].mixer.decode_pair_flops = 0;
  model.kinds[0].mixer.state_values = 1'000'000;
  EXPECT_DOUBLE_EQ(costs().tensor_decode(0, worker, 3).seconds,
                   gemm(3, 5e6) + operators().elementwise(3 * 8e6).seconds);
}

// 10e6 parameters an expert: 2 of 8 for one row, all for many; never top_k alone.
TEST_F(StepCostTest, DistinctExpertsAreRead) {
  EXPECT_DOUBLE_EQ(costs().experts(0, worker, 1, 1).seconds,
                   experts(2, 2, 10e6, KernelFormat::Bf16));
  const double touched = 8 * (1 - 0.75 * 0.75 * 0.75 * 0.75);
  EXPECT_NEAR(costs().experts(0, worker, 4, 1).seconds,
              experts(8, touched, 10e6, KernelFormat::Bf16), 1e-12);
  worker.precision.experts = NumberFormat::FP8;
  EXPECT_NEAR(costs().experts(0, worker, 4, 1).seconds,
              experts(8, touched, 10e6, KernelFormat::Fp8), 1e-12);
  EXPECT_EQ(costs().experts(0, worker, 0, 1).seconds, 0);
}

TEST_F(StepCostTest, ExpertShardsHalveTheWeightsAndPayDispatch) {
  worker.tp = worker.etp = 2;
  const Cost halved = costs().experts(0, worker, 4, 1);
  EXPECT_GT(at(halved, Bound::Latency), 0);
  EXPECT_GT(at(halved, Bound::Link), 0);
  EXPECT_DOUBLE_EQ(halved.seconds - at(halved, Bound::Latency) - at(halved, Bound::Link),
                   experts(8, 8 * (1 - 0.75 * 0.75 * 0.75 * 0.75), 5e6, KernelFormat::Bf16));
}

// A peak makes the busiest group slower, and overlapping hides bytes but no latency.
TEST_F(StepCostTest, PeaksCostAndOverlapHides) {
  worker.dp = worker.ep = 4;
  const Cost even = costs().experts(0, worker, 4000, 1);
  EXPECT_GT(costs().experts(0, worker, 4000, 1.5).seconds, 1.2 * even.seconds);
  engine.hidden_exchange = 1;
  const Cost hidden = costs().experts(0, worker, 4000, 1);
  EXPECT_NEAR(at(hidden, Bound::Link), 0, 1e-15);
  EXPECT_DOUBLE_EQ(at(hidden, Bound::Latency), at(even, Bound::Latency));
}

// Every cut of a prompt pays the layer again and reads what was cached; pairs are the same.
TEST_F(StepCostTest, PrefillAttendsToEveryPairOnce) {
  engine.layer_s = 1;
  worker.chunk = 1000;
  const PrefillAttention prompt{1000, 1000.0 * 1001 / 2, 8, 64, (2.0 * 8 * 64 + 256) * 2, 0};
  const double layer = (5 + 8) / 9.0;  // kernels of attention and of experts, over a plain layer's
  const Cost whole = costs().tensor_prefill(0, worker, 1);
  EXPECT_NEAR(whole.seconds,
              layer + gemm(1000, 5e6) + operators().prefill_attention(prompt).seconds, 1e-9);
  worker.chunk = 300;  // 300 + 300 + 300 + 100
  const Cost cut = costs().tensor_prefill(0, worker, 1);
  EXPECT_GE(at(cut, Bound::Fixed), 4 * layer);
  EXPECT_GT(cut.seconds - 4 * layer, whole.seconds - layer);
}

// A mixed step: its rows share the weights, each kind attends in its own way.
TEST_F(StepCostTest, AMixedStepReadsTheWeightsOnce) {
  GroupLoad load;
  load.decodes = 10;
  load.decode_context = 5000;
  load.prompts = {{0, 100}, {200, 50}};
  const double pairs = 100.0 * 101 / 2 + 50 * 200 + 50.0 * 51 / 2;
  const PrefillAttention prompts{150, pairs, 8, 64, (2.0 * 8 * 64 + 256) * 2, 200.0 * 256 * 2};
  EXPECT_NEAR(costs().tensor(0, worker, load).seconds,
              gemm(160, 5e6) + attend(10, 500) + operators().prefill_attention(prompts).seconds,
              1e-12);
}

TEST_F(StepCostTest, OncePerStepAndMicrobatch) {
  engine.step_s = 1;
  engine.request_s = 0.25;
  engine.prompt_step_s = 2;
  EXPECT_EQ(costs().fixed(8, false).seconds, 3);
  EXPECT_EQ(costs().fixed(8, true).seconds, 5);
  worker.tp = 2;
  EXPECT_DOUBLE_EQ(costs().logits(worker, 1).seconds, gemm(1, 1'024'000.0 / 2));
  EXPECT_EQ(costs().hand_over(worker, 10).seconds, 0);
  worker.stage_layers = {1, 1};
  EXPECT_NEAR(costs().hand_over(worker, 10).seconds,
              operators().send(0, 10.0 * 1024 * 2 / 2).seconds, 1e-12);
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
