#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "spec/load_model.h"

namespace pentafold {
namespace {

const std::string kDense = "layers: 2\nd: 64\nheads: 8\nvocab: 100\n";

ModelSpec read(const std::string& text) {
  const auto result = parse_shape_spec(text, "dir/shape.yaml");
  EXPECT_TRUE(result.ok()) << result.error().to_string();
  return *result;
}

std::string refusal(const std::string& text) {
  const auto result = parse_shape_spec(text, "f.yaml");
  return result.ok() ? "" : result.error().to_string();
}

TEST(ShapeSpec, DefaultsAreThoseOfAPlainModel) {
  const ModelSpec m = read(kDense + "dense_hidden: 96\n");
  EXPECT_EQ(m.name, "shape");
  EXPECT_EQ(m.family, Family::Synthetic);
  EXPECT_EQ(m.kv_heads, 8);
  EXPECT_EQ(m.head_dim, 8);
  EXPECT_EQ(m.experts, 0);
  EXPECT_TRUE(m.gated_mlp);
  EXPECT_EQ(m.dtype, DType::BF16);
  EXPECT_EQ(m.declared_total_params, std::nullopt);
}

TEST(ShapeSpec, EveryKeyArrives) {
  const ModelSpec m = read(R"(
name: whole
layers: 4
d: 64
heads: 8
kv_heads: 2
head_dim: 16
vocab: 1000
experts: 12
top_k: 3
expert_hidden: 32
dense_hidden: 96
shared_hidden: 48
shared_gate: true
dense_layers: [0, 2]
matrices: 2
activation: relu
router: topk_softmax
norm_topk: false
qk_norm: per_head
qkv_bias: true
o_bias: true
sliding_window: 128
rope: {theta: 50000, scaling: yarn, factor: 4, beta_fast: 16, original_max_position: 512}
norm_eps: 1e-6
tied_embeddings: true
dtype: f32
weights: synthetic
seed: 42
declared_total_params: 1.5M
max_positions: 2048
bos: 1
eos: [2, 3]
)");
  EXPECT_EQ(m.name, "whole");
  EXPECT_EQ(m.kv_heads, 2);
  EXPECT_EQ(m.q_width(), 128);
  EXPECT_EQ(m.top_k, 3);
  EXPECT_TRUE(!m.layers[0].moe && m.layers[1].moe && !m.layers[2].moe && m.layers[3].moe);
  EXPECT_EQ(m.layers[3].sliding_window, 128);
  EXPECT_EQ(m.shared_hidden, 48);
  EXPECT_TRUE(m.shared_gate && !m.gated_mlp && !m.norm_topk && m.qkv_bias && m.o_bias);
  EXPECT_EQ(m.activation, Activation::Relu);
  EXPECT_EQ(m.router_order, RouterOrder::TopkSoftmax);
  EXPECT_EQ(m.qk_norm, QkNorm::PerHead);
  EXPECT_EQ(m.rope.scaling, RopeScaling::Yarn);
  EXPECT_DOUBLE_EQ(m.rope.attention_factor, 0.1 * std::log(4.0) + 1.0);
  EXPECT_EQ(m.rope.beta_fast, 16.0);
  EXPECT_EQ(m.rope.original_max_position, 512);
  EXPECT_EQ(m.norm_eps, 1e-6);
  EXPECT_TRUE(m.tied_embeddings);
  EXPECT_EQ(m.dtype, DType::F32);
  EXPECT_EQ(m.seed, 42U);
  EXPECT_EQ(m.declared_total_params, 1.5e6);
  EXPECT_EQ(m.max_positions, 2048);
  EXPECT_EQ(m.bos_ids, std::vector<std::int32_t>{1});
  EXPECT_EQ(m.eos_ids, (std::vector<std::int32_t>{2, 3}));
}

TEST(ShapeSpec, DeclaredCountsMayHaveUnits) {
  const auto declared = [](const std::string& text) {
    return *read(kDense + "dense_hidden: 96\ndeclared_total_params: " + text + "\n")
                .declared_total_params;
  };
  EXPECT_EQ(declared("10B"), 1e10);
  EXPECT_EQ(declared("\"10 B\""), 1e10);
  EXPECT_EQ(declared("417M"), 417e6);
  EXPECT_EQ(declared("1.2T"), 1.2e12);
  EXPECT_EQ(declared("123456"), 123456.0);
  for (const char* wrong : {"10X", "many", "-3B", ".nan", "1e400", "0", "B"}) {
    EXPECT_NE(refusal(kDense + "dense_hidden: 96\ndeclared_total_params: " + wrong + "\n")
                  .find("f.yaml:6: declared_total_params must be a number"),
              std::string::npos)
        << wrong;
  }
}

TEST(ShapeSpec, MistakesNameTheirLine) {
  EXPECT_EQ(refusal(kDense),
            "f.yaml:1: key \"dense_hidden\" is missing; add it with a whole number");
  EXPECT_EQ(refusal(kDense + "expert: 4\n"),
            "f.yaml:5: unknown key \"expert\"; did you mean \"experts\"?");
  EXPECT_EQ(refusal("layers: 2\nd: 64\nheads: 7\nvocab: 9\n"),
            "f.yaml:3: d = 64 is not a multiple of heads = 7; give head_dim");
  EXPECT_EQ(refusal("layers: 2000\nd: 64\nheads: 8\nvocab: 9\n"),
            "f.yaml:1: layers = 2000 is outside 1 to 1024");
  EXPECT_NE(refusal(kDense + "experts: 4\n").find("\"top_k\" is missing"), std::string::npos);
  EXPECT_NE(refusal(kDense + "dense_hidden: 96\nrope: {thetta: 1}\n")
                .find("f.yaml:6: unknown key \"thetta\""),
            std::string::npos);
  EXPECT_NE(refusal(kDense + "dense_hidden: 96\nweights: file\n")
                .find("weights must be one of synthetic"),
            std::string::npos);
  EXPECT_NE(refusal(kDense + "dense_layers: [2]\n").find("dense_layers holds 2, outside 0 to 1"),
            std::string::npos);
  EXPECT_NE(
      refusal(kDense + "dense_hidden: 96\nshared_gate: true\n").find("shared expert has width 0"),
      std::string::npos);
}

}  // namespace
}  // namespace pentafold
