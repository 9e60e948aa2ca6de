#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

ModelSpec base_model(const std::string& name) {
  ModelSpec model;
  model.name = name;
  model.vocab = 53;  // uneven over every tp
  model.d = 24;
  model.heads = 8;
  model.kv_heads = 2;
  model.head_dim = 4;
  model.layers.assign(4, LayerSpec{true, 0});
  model.experts = 8;
  model.top_k = 2;
  model.expert_hidden = 16;
  model.dtype = DType::F32;
  model.seed = 7;
  return model;
}

}  // namespace

ModelSpec tiny_mixtral() {
  return base_model("mixtral");
}

ModelSpec tiny_sliding() {
  ModelSpec model = base_model("sliding");
  for (LayerSpec& layer : model.layers) layer.sliding_window = 5;
  model.layers[1].sliding_window = 19;
  model.rope.scaling = RopeScaling::Yarn;
  model.rope.factor = 4;
  model.rope.attention_factor = 1.1386294361119891;
  model.rope.original_max_position = 32;
  return model;
}

ModelSpec tiny_qwen2_moe() {
  ModelSpec model = base_model("qwen2_moe");
  model.layers[1].moe = false;
  model.dense_hidden = 48;
  model.shared_hidden = 24;
  model.shared_gate = true;
  model.qkv_bias = true;
  model.norm_topk = false;
  model.dtype = DType::BF16;
  return model;
}

ModelSpec tiny_qwen3_moe() {
  ModelSpec model = base_model("qwen3_moe");
  model.qk_norm = QkNorm::PerHead;
  model.top_k = 4;
  model.head_dim = 6;
  model.qkv_bias = true;
  model.o_bias = true;
  return model;
}

ModelSpec tiny_olmoe() {
  ModelSpec model = base_model("olmoe");
  model.qk_norm = QkNorm::FullWidth;
  model.norm_topk = false;
  model.clip_qkv = 1.5;
  model.kv_heads = 4;
  model.dtype = DType::F16;
  return model;
}

ModelSpec tiny_llama() {
  ModelSpec model = base_model("llama");
  model.experts = 0;
  model.top_k = 0;
  model.expert_hidden = 0;
  for (LayerSpec& layer : model.layers) layer.moe = false;
  model.dense_hidden = 48;
  model.kv_heads = 1;
  model.qkv_bias = true;
  model.o_bias = true;
  model.mlp_bias = true;
  model.tied_embeddings = true;
  model.rope.scaling = RopeScaling::Llama3;
  model.rope.factor = 8;
  model.rope.original_max_position = 16;
  return model;
}

ModelSpec tiny_synthetic() {
  ModelSpec model = base_model("synthetic");
  model.gated_mlp = false;
  model.activation = Activation::Relu;
  model.top_k = 1;
  model.router_order = RouterOrder::TopkSoftmax;
  model.kv_heads = 8;
  return model;
}

std::vector<ModelSpec> tiny_models() {
  return {tiny_mixtral(), tiny_sliding(), tiny_qwen2_moe(), tiny_qwen3_moe(),
          tiny_olmoe(),   tiny_llama(),   tiny_synthetic()};
}

}  // namespace pentafold::testing
