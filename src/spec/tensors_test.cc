#include "spec/tensors.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "spec/checkpoint.h"
#include "spec/load_model.h"

namespace pentafold {
namespace {

ModelSpec mixed(Family family) {
  ModelSpec m;
  m.family = family;
  m.vocab = 64;
  m.d = 16;
  m.heads = 4;
  m.kv_heads = 2;
  m.head_dim = 6;
  m.layers = {{false, 0}, {true, 0}};
  m.dense_hidden = 20;
  m.experts = 3;
  m.top_k = 1;
  m.expert_hidden = 10;
  m.shared_hidden = 14;
  m.shared_gate = true;
  m.qkv_bias = m.o_bias = m.mlp_bias = true;
  m.qk_norm = QkNorm::FullWidth;
  return m;
}

TEST(Tensors, EachIsListedOnceUnderItsOwnNameWithItsShape) {
  for (const Family family :
       {Family::Mixtral, Family::Qwen2Moe, Family::Olmoe, Family::Synthetic}) {
    const ModelSpec m = mixed(family);
    std::set<TensorId> ids;
    std::set<std::string> names;
    for (const TensorInfo& t : model_tensors(m)) {
      EXPECT_TRUE(ids.insert(t.id).second) << to_string(t.id.role);
      EXPECT_TRUE(names.insert(checkpoint_name(m, t.id)).second) << checkpoint_name(m, t.id);
      const TensorInfo again = tensor_info(m, t.id);
      EXPECT_EQ(again.rows, t.rows);
      EXPECT_EQ(again.cols, t.cols);
    }
    // 3 outside; 2 x 12 of attention and norms; 6 of the dense MLP; 3 x 3 + 1 + 4 of the MoE layer.
    EXPECT_EQ(ids.size(), 3U + 24U + 6U + 14U);
  }
}

TEST(Tensors, NamesFollowTheFamily) {
  const auto name = [](Family family, TensorId id) { return checkpoint_name(mixed(family), id); };
  const TensorId gate = {TensorRole::Gate, 1, 2};
  const TensorId down = {TensorRole::Down, 1, 2};
  EXPECT_EQ(name(Family::Mixtral, gate), "model.layers.1.block_sparse_moe.experts.2.w1.weight");
  EXPECT_EQ(name(Family::Mixtral, down), "model.layers.1.block_sparse_moe.experts.2.w2.weight");
  EXPECT_EQ(name(Family::Mixtral, {TensorRole::Up, 1, 2}),
            "model.layers.1.block_sparse_moe.experts.2.w3.weight");
  EXPECT_EQ(name(Family::Mixtral, {TensorRole::Router, 1, -1}),
            "model.layers.1.block_sparse_moe.gate.weight");
  EXPECT_EQ(name(Family::Qwen3Moe, gate), "model.layers.1.mlp.experts.2.gate_proj.weight");
  EXPECT_EQ(name(Family::Olmoe, {TensorRole::Router, 1, -1}), "model.layers.1.mlp.gate.weight");
  EXPECT_EQ(name(Family::Qwen2Moe, {TensorRole::SharedRouter, 1, -1}),
            "model.layers.1.mlp.shared_expert_gate.weight");
  EXPECT_EQ(name(Family::Qwen3Moe, {TensorRole::Up, 0, -1}), "model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(name(Family::Llama, {TensorRole::DownBias, 0, -1}),
            "model.layers.0.mlp.down_proj.bias");
  EXPECT_EQ(name(Family::Qwen3, {TensorRole::QNorm, 0, -1}),
            "model.layers.0.self_attn.q_norm.weight");
}

TEST(Tensors, OptionsAddAndRemove) {
  ModelSpec m = mixed(Family::Synthetic);
  m.gated_mlp = false;
  m.tied_embeddings = true;
  for (const TensorInfo& t : model_tensors(m)) {
    EXPECT_NE(t.id.role, TensorRole::Gate);
    EXPECT_NE(t.id.role, TensorRole::SharedGate);
    EXPECT_NE(t.id.role, TensorRole::GateBias);
    EXPECT_NE(t.id.role, TensorRole::LmHead);
  }
  EXPECT_EQ(tensor_info(m, {TensorRole::QNorm, 0, -1}).rows, 24);
  EXPECT_EQ(tensor_info(m, {TensorRole::KNorm, 0, -1}).rows, 12);
  m.qk_norm = QkNorm::PerHead;
  EXPECT_EQ(tensor_info(m, {TensorRole::KNorm, 0, -1}).rows, 6);
}

TEST(Tensors, AreExactlyThoseOfARealCheckpoint) {
  const std::string directory = PENTAFOLD_SOURCE_DIR "/models/tiny-moe";
  const ModelSpec m = load_model(directory).value().model;
  const Checkpoint checkpoint = Checkpoint::open(directory).value();
  const auto tensors = model_tensors(m);
  EXPECT_EQ(checkpoint.size(), tensors.size());
  for (const TensorInfo& t : tensors) {
    const StoredTensor* stored = checkpoint.find(checkpoint_name(m, t.id));
    ASSERT_NE(stored, nullptr) << checkpoint_name(m, t.id);
    EXPECT_EQ(stored->bytes.size(), static_cast<std::size_t>(t.count()) * 2);
  }
}

}  // namespace
}  // namespace pentafold
