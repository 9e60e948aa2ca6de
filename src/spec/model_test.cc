#include "spec/model.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "spec/tensors.h"

namespace pentafold {
namespace {

ModelSpec small_moe() {
  ModelSpec m;
  m.vocab = 100;
  m.d = 32;
  m.heads = 4;
  m.kv_heads = 2;
  m.head_dim = 8;
  m.layers.assign(3, LayerSpec{true, 0});
  m.experts = 4;
  m.top_k = 2;
  m.expert_hidden = 24;
  return m;
}

// Published dimensions; the totals are those the model cards give.
ModelSpec mixtral_8x7b() {
  ModelSpec m;
  m.family = Family::Mixtral;
  m.vocab = 32000;
  m.d = 4096;
  m.heads = 32;
  m.kv_heads = 8;
  m.head_dim = 128;
  m.layers.assign(32, LayerSpec{true, 0});
  m.experts = 8;
  m.top_k = 2;
  m.expert_hidden = 14336;
  return m;
}

ModelSpec qwen3_30b_a3b() {
  ModelSpec m;
  m.family = Family::Qwen3Moe;
  m.vocab = 151936;
  m.d = 2048;
  m.heads = 32;
  m.kv_heads = 4;
  m.head_dim = 128;
  m.layers.assign(48, LayerSpec{true, 0});
  m.experts = 128;
  m.top_k = 8;
  m.expert_hidden = 768;
  m.qk_norm = QkNorm::PerHead;
  return m;
}

ModelSpec qwen15_moe_a27b() {
  ModelSpec m;
  m.family = Family::Qwen2Moe;
  m.vocab = 151936;
  m.d = 2048;
  m.heads = 16;
  m.kv_heads = 16;
  m.head_dim = 128;
  m.layers.assign(24, LayerSpec{true, 0});
  m.experts = 60;
  m.top_k = 4;
  m.expert_hidden = 1408;
  m.shared_hidden = 5632;
  m.shared_gate = true;
  m.qkv_bias = true;
  return m;
}

ModelSpec olmoe_1b_7b() {
  ModelSpec m;
  m.family = Family::Olmoe;
  m.vocab = 50304;
  m.d = 2048;
  m.heads = 16;
  m.kv_heads = 16;
  m.head_dim = 128;
  m.layers.assign(16, LayerSpec{true, 0});
  m.experts = 64;
  m.top_k = 8;
  m.expert_hidden = 1024;
  m.qk_norm = QkNorm::FullWidth;
  return m;
}

void expect_billions(std::int64_t count, double billions) {
  EXPECT_NEAR(static_cast<double>(count) / 1e9, billions, billions * 0.005);
}

TEST(Model, PublishedModelsHaveTheirPublishedCounts) {
  expect_billions(count_params(mixtral_8x7b()).total, 46.70);
  expect_billions(count_params(mixtral_8x7b()).active, 12.88);
  expect_billions(count_params(qwen3_30b_a3b()).total, 30.53);
  expect_billions(count_params(qwen3_30b_a3b()).active, 3.35);
  expect_billions(count_params(qwen15_moe_a27b()).total, 14.32);
  expect_billions(count_params(olmoe_1b_7b()).total, 6.92);
}

// Every combination of the options that add or remove tensors.
TEST(Model, CountIsTheSumOverTheTensors) {
  for (int bits = 0; bits < 512; ++bits) {
    ModelSpec m = small_moe();
    const auto on = [&](int i) { return (bits >> i & 1) != 0; };
    m.layers[0].moe = on(0);
    m.dense_hidden = on(0) ? 0 : 40;
    m.shared_hidden = on(1) ? 16 : 0;
    m.shared_gate = on(1) && on(2);
    m.gated_mlp = on(3);
    m.qkv_bias = on(4);
    m.o_bias = on(5);
    m.mlp_bias = on(6);
    m.tied_embeddings = on(7);
    m.qk_norm = on(8) ? QkNorm::FullWidth : on(2) ? QkNorm::PerHead : QkNorm::None;
    ASSERT_TRUE(validate(m, "f").ok());
    std::int64_t total = 0;
    std::int64_t idle = 0;
    for (const TensorInfo& t : model_tensors(m)) {
      total += t.count();
      if (t.id.expert >= m.top_k) idle += t.count();
    }
    const ParamCounts counts = count_params(m);
    EXPECT_EQ(counts.total, total) << bits;
    EXPECT_EQ(counts.active, total - idle) << bits;
  }
}

TEST(Model, LeavesDivideTheWidthAndTheTree) {
  for (std::int64_t hidden = 1; hidden <= 4096; ++hidden) {
    const std::int64_t leaves = ModelSpec::mlp_leaves(hidden);
    ASSERT_EQ(hidden % leaves, 0);
    for (const std::int64_t ways : {1, 2, 3, 4, 6, 8, 12, 16}) {
      if (hidden % ways != 0) continue;
      ASSERT_EQ(leaves % ways, 0) << hidden << " " << ways;
    }
  }
}

TEST(Model, KvBytesCountBothCachesOfAllLayers) {
  EXPECT_EQ(kv_bytes_per_token(mixtral_8x7b(), DType::BF16), 131072);
  EXPECT_EQ(kv_bytes_per_token(mixtral_8x7b(), DType::F32), 262144);
}

TEST(Model, DeclarationsAreCheckedNotBelieved) {
  ModelSpec m = olmoe_1b_7b();
  const auto counted = static_cast<double>(count_params(m).total);
  EXPECT_EQ(declaration_contradiction(m), std::nullopt);
  m.declared_total_params = counted * 1.009;
  EXPECT_EQ(declaration_contradiction(m), std::nullopt);
  m.declared_total_params = counted * 1.05;
  EXPECT_EQ(declaration_contradiction(m),
            "declares 7.27 B parameters, its dimensions give 6.92 B (5.0 % less)");
  m.declared_total_params = counted / 10;
  EXPECT_EQ(declaration_contradiction(m),
            "declares 692 M parameters, its dimensions give 6.92 B (10.0x more)");
}

TEST(Model, ContradictionsAreNamed) {
  struct Case {
    std::function<void(ModelSpec&)> break_it;
    std::string said;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<Case> cases = {
      {[](ModelSpec& m) { m.kv_heads = 3; }, "4 attention heads cannot share 3 KV heads"},
      {[](ModelSpec& m) { m.kv_heads = 5; }, "the number of KV heads is 5"},
      {[](ModelSpec& m) { m.head_dim = 7; }, "head_dim is 7"},
      {[](ModelSpec& m) { m.top_k = 5; }, "experts per token (top_k) is 5"},
      {[](ModelSpec& m) { m.top_k = 0; }, "experts per token (top_k) is 0"},
      {[](ModelSpec& m) { m.d = -1; }, "the hidden width (d) is -1"},
      {[](ModelSpec& m) { m.vocab = std::int64_t{1} << 40; }, "the vocabulary is"},
      {[](ModelSpec& m) { m.layers.clear(); }, "the number of layers is 0"},
      {[](ModelSpec& m) { m.layers.resize(5000); }, "the number of layers is 5000"},
      {[](ModelSpec& m) { m.layers[1].moe = false; }, "the hidden width of the dense layers is 0"},
      {[](ModelSpec& m) { m.experts = 0; }, "experts per token (top_k) is 2"},
      {[](ModelSpec& m) { m.shared_gate = true; }, "the shared expert has width 0"},
      {[](ModelSpec& m) { m.layers[2].sliding_window = -3; }, "the sliding window of layer 2"},
      {[nan](ModelSpec& m) { m.norm_eps = nan; }, "the norm's epsilon is nan"},
      {[nan](ModelSpec& m) { m.rope.theta = nan; }, "rope theta is nan"},
      {[](ModelSpec& m) { m.clip_qkv = -1.0; }, "clip_qkv is -1"},
      {[](ModelSpec& m) { m.bos_ids = {100}; }, "the begin-of-text id 100"},
      {[](ModelSpec& m) { m.rope.scaling = RopeScaling::Yarn; }, "original_max_position"},
      {[](ModelSpec& m) {
         m.d = m.expert_hidden = 1 << 24, m.layers.assign(1024, {true, 0});
         m.experts = 1024;
       },
       "more than 1e18 parameters"},
  };
  ASSERT_TRUE(validate(small_moe(), "f.json").ok());
  for (const Case& c : cases) {
    ModelSpec m = small_moe();
    c.break_it(m);
    const Status status = validate(m, "f.json");
    ASSERT_FALSE(status.ok()) << c.said;
    EXPECT_EQ(status.error().code, ErrorCode::InvalidSpec);
    EXPECT_EQ(status.error().file, "f.json");
    EXPECT_NE(status.error().message.find(c.said), std::string::npos) << status.error().message;
  }
}

}  // namespace
}  // namespace pentafold
