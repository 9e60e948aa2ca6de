// ModelSpec -> ModelShape: the families that the engine runs.
#include "spec/layer_dims.h"
#include "spec/model_shape.h"

namespace pentafold {

ModelShape shape_of(const ModelSpec& model) {
  ModelDims out;
  out.name = model.name;
  out.family = to_string(model.family);
  out.vocab = model.vocab;
  out.d = model.d;
  out.max_positions = model.max_positions;
  out.tied_embeddings = model.tied_embeddings;
  const NumberFormat format = number_format_of(model.dtype);
  out.stored = {format, format, format, NumberFormat::BF16};
  for (const LayerSpec& layer : model.layers) {
    AttentionDims attention{model.heads, model.kv_heads, model.head_dim, layer.sliding_window};
    attention.qkv_bias = model.qkv_bias;
    attention.o_bias = model.o_bias;
    attention.qk_norm = model.qk_norm;
    FfnDims ffn;
    ffn.matrices = model.gated_mlp ? 3 : 2;
    if (layer.moe) {
      ffn.experts = model.experts;
      ffn.top_k = model.top_k;
      ffn.expert_hidden = model.expert_hidden;
      ffn.shared_hidden = model.shared_hidden;
      ffn.shared_gate = model.shared_gate;
    } else {
      ffn.dense_hidden = model.dense_hidden;
      ffn.dense_bias = model.mlp_bias;
    }
    out.add_layer({attention, ffn});
  }
  auto shape = build_shape(out, model.name);
  CHECK(shape.ok());  // validate(model) refuses what build_shape refuses
  shape->declared_total_params = model.declared_total_params;
  return std::move(shape).value();
}

}  // namespace pentafold
