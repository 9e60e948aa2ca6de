#include "spec/model_shape.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "spec/layer_dims.h"
#include "spec/tensors.h"

namespace pentafold {
namespace {

constexpr auto kBf16 = NumberFormat::BF16;

ModelShape build(const ModelDims& dims) {
  auto shape = build_shape(dims, "test");
  EXPECT_TRUE(shape.ok()) << shape.error().to_string();
  return *std::move(shape);
}

ModelDims one_layer(const MixerDims& mixer, const FfnDims& ffn) {
  ModelDims dims;
  dims.vocab = 100;
  dims.d = 64;
  dims.add_layer({mixer, ffn});
  return dims;
}

double sum_of(const std::vector<WeightGroup>& groups) {
  double sum = 0;
  for (const WeightGroup& g : groups) sum += static_cast<double>(g.params);
  return sum;
}

// A model of the engine with every feature on or off as the seed says.
ModelSpec drawn(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto pick = [&](std::uint64_t below) {
    return static_cast<std::int64_t>(random() % below);
  };
  ModelSpec m;
  m.name = "drawn";
  m.vocab = 50 + pick(100);
  m.d = 8 * (1 + pick(8));
  m.kv_heads = 1 + pick(3);
  m.heads = m.kv_heads * (1 + pick(4));
  m.head_dim = 2 * (1 + pick(8));
  m.dense_hidden = 16 + pick(64);
  m.experts = 2 + pick(6);
  m.top_k = 1 + pick(2);
  m.expert_hidden = 8 + pick(32);
  m.shared_hidden = pick(2) * 24;
  m.shared_gate = m.shared_hidden > 0 && pick(2) == 1;
  m.gated_mlp = pick(2) == 1;
  m.qkv_bias = pick(2) == 1;
  m.o_bias = pick(2) == 1;
  m.mlp_bias = pick(2) == 1;
  m.tied_embeddings = pick(2) == 1;
  m.qk_norm = static_cast<QkNorm>(pick(3));
  for (int i = 0; i < 4; ++i) m.layers.push_back({i != 1, i == 2 ? 16 : 0});
  return m;
}

TEST(ModelShape, CountsWhatTheEngineStoresForEveryFeature) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const ModelSpec spec = drawn(seed);
    ASSERT_TRUE(validate(spec, "drawn").ok()) << seed;
    const ModelShape shape = shape_of(spec);
    const ParamCounts want = count_params(spec);
    const ParamCounts got = count_params(shape);
    EXPECT_EQ(got.total, want.total) << seed;
    EXPECT_EQ(got.active, want.active) << seed;
    std::int64_t stored = 0;
    for (const TensorInfo& t : model_tensors(spec)) stored += t.rows * t.cols;
    EXPECT_EQ(got.total, stored) << seed;
    EXPECT_EQ(kv_bytes_per_token(shape, kBf16),
              static_cast<double>(kv_bytes_per_token(spec, DType::BF16)));
    EXPECT_EQ(shape.num_layers(), spec.num_layers());
    EXPECT_EQ(shape.layer(2).mixer.window, 16);
    EXPECT_EQ(shape.experts(), spec.experts);
    EXPECT_EQ(shape.top_k(), spec.top_k);
  }
}

TEST(ModelShape, LayersThatAreAlikeShareAKind) {
  const ModelShape shape = shape_of(drawn(7));
  EXPECT_EQ(shape.layers, (std::vector<std::int32_t>{0, 1, 2, 0}));
  EXPECT_EQ(shape.kinds.size(), 3U);
}

TEST(ModelShape, LatentAttentionKeepsOneRowATokenAndIndexerKeysBesideIt) {
  LatentDims mla{128, 1536, 512, 128, 64, 128};
  ModelShape shape = build(one_layer(mla, {.dense_hidden = 256}));
  EXPECT_EQ(shape.kinds[0].mixer.kv_values, 576);
  EXPECT_EQ(shape.kinds[0].mixer.kv_heads, 1);
  EXPECT_EQ(shape.kinds[0].mixer.decode_pair_flops, 2.0 * 128 * (512 + 512 + 64));
  EXPECT_EQ(shape.kinds[0].mixer.prefill_pair_flops, 2.0 * 128 * (128 + 64 + 128));
  mla.index_heads = 64;
  mla.index_dim = 128;
  mla.index_top_k = 2048;
  shape = build(one_layer(mla, {.dense_hidden = 256}));
  EXPECT_EQ(shape.kinds[0].mixer.kv_values, 576 + 128);
  const MixerShape& m = shape.kinds[0].mixer;
  // Beyond the selected keys only the indexer's work grows.
  EXPECT_EQ(attention_flops(shape, 10000, false) - attention_flops(shape, 9000, false),
            1000 * m.index_pair_flops);
  EXPECT_EQ(attention_flops(shape, 2000, false), 2000 * (m.decode_pair_flops + m.index_pair_flops));
}

TEST(ModelShape, AWindowBoundsTheCacheAndTheWork) {
  const AttentionDims windowed{8, 2, 16, 100};
  const ModelShape shape = build(one_layer(windowed, {.dense_hidden = 32}));
  EXPECT_EQ(kv_bytes_of_sequence(shape, kBf16, 50), 50 * kv_bytes_per_token(shape, kBf16));
  EXPECT_EQ(kv_bytes_of_sequence(shape, kBf16, 100000), 100 * kv_bytes_per_token(shape, kBf16));
  EXPECT_EQ(attention_flops(shape, 100, true), attention_flops(shape, 100000, true));
  EXPECT_EQ(attention_flops(shape, 10, true), 10 * 4.0 * 8 * 16);
}

TEST(ModelShape, RecurrentStatesDoNotGrow) {
  const std::vector<MixerDims> mixers = {LightningDims{4, 8}, DeltaDims{2, 4, 8, 8, 4},
                                         MambaDims{128, 16, 4, 4}, Mamba2Dims{4, 32, 2, 16, 4}};
  const std::vector<double> states = {4 * 8 * 8, 4 * 8 * 8 + 3.0 * (2 * 16 + 32),
                                      128 * 16 + 3.0 * 128, 128 * 16 + 3.0 * (128 + 2 * 2 * 16)};
  for (std::size_t i = 0; i < mixers.size(); ++i) {
    const ModelShape shape = build(one_layer(mixers[i], {}));
    EXPECT_EQ(kv_bytes_per_token(shape, kBf16), 0) << i;
    EXPECT_EQ(kv_bytes_of_sequence(shape, kBf16, 1), 4 * states[i]) << i;
    EXPECT_EQ(kv_bytes_of_sequence(shape, kBf16, 1 << 20), 4 * states[i]) << i;
    EXPECT_GT(attention_flops(shape, 1, true), 0) << i;
    EXPECT_EQ(attention_flops(shape, 1, true), attention_flops(shape, 1 << 20, false)) << i;
  }
}

TEST(ModelShape, OnlyMatricesMultiplyAndOnlyChosenExperts) {
  const FfnDims ffn{.experts = 8, .top_k = 2, .expert_hidden = 32, .shared_hidden = 16};
  const ModelShape shape = build(one_layer(AttentionDims{4, 2, 16}, ffn));
  const double attention = 2.0 * 64 * 64 + 2.0 * 64 * 32;
  const double mlps = 3.0 * 64 * (2 * 32 + 16);
  EXPECT_EQ(weight_flops_per_token(shape), 2 * (attention + 8 * 64 + mlps + 100 * 64));
  const ParamCounts counts = count_params(shape);
  EXPECT_EQ(counts.total - counts.active, 6 * 3 * 64 * 32);
}

TEST(ModelShape, BytesFollowThePrecisionOfEachPart) {
  const FfnDims ffn{.experts = 8, .top_k = 2, .expert_hidden = 32, .shared_hidden = 16};
  const ModelShape shape = build(one_layer(AttentionDims{4, 2, 16}, ffn));
  const double experts = 8 * 3 * 64 * 32;
  const auto total = static_cast<double>(count_params(shape).total);
  Precision p;
  EXPECT_EQ(weight_bytes(shape, p), 2 * total);
  EXPECT_EQ(to_string(p), "bf16");
  p.experts = NumberFormat::MXFP4;
  EXPECT_EQ(weight_bytes(shape, p), 2 * (total - experts) + experts * 17 / 32);
  EXPECT_EQ(to_string(p), "mxfp4 experts, bf16");
  p.kv = NumberFormat::FP8;
  EXPECT_EQ(to_string(p), "mxfp4 experts, bf16, kv fp8");
  p = {NumberFormat::F32, NumberFormat::F32, NumberFormat::F32, kBf16};
  EXPECT_EQ(weight_bytes(shape, p), 4 * (sum_of(shape.outer) + sum_of(shape.kinds[0].weights)));
}

TEST(ModelShape, ImpossibleDimensionsAreRefusedWithASentence) {
  const FfnDims dense{.dense_hidden = 8};
  const std::vector<ModelDims> bad = {
      ModelDims{},
      one_layer(AttentionDims{6, 4, 8}, dense),
      one_layer(NoMixer{}, {}),
      one_layer(NoMixer{}, {.experts = 4, .top_k = 5, .expert_hidden = 8}),
      one_layer(NoMixer{}, {.experts = 4, .top_k = 1}),
      one_layer(NoMixer{}, {.dense_hidden = 8, .shared_hidden = 8}),
      one_layer(DeltaDims{3, 4, 8, 8, 4}, dense),
      one_layer(CompressedDims{.heads = 8, .head_dim = 8, .o_groups = 3}, dense),
      one_layer(LatentDims{.heads = 8, .kv_rank = 8, .index_heads = 4}, dense),
      one_layer(AttentionDims{65536, 65536, 65536},
                {.experts = 4096, .top_k = 1, .expert_hidden = kMaxShapeWidth}),
  };
  for (std::size_t i = 0; i < bad.size(); ++i) {
    ModelDims dims = bad[i];
    if (i + 1 == bad.size()) dims.d = dims.vocab = kMaxShapeWidth;
    const auto shape = build_shape(dims, "bad");
    ASSERT_FALSE(shape.ok()) << i;
    EXPECT_EQ(shape.error().file, "bad");
    EXPECT_FALSE(shape.error().message.empty());
  }
}

}  // namespace
}  // namespace pentafold
