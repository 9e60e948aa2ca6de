// Families in which some layers are linear or recurrent, and the encoder-decoder Switch.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/quote.h"
#include "base/units.h"
#include "spec/hf_shape_families.h"

namespace pentafold {
namespace {

Status read_minimax_m1(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(const AttentionDims full, read_grouped_attention(config, out.d));
  const LightningDims lightning{full.heads, full.head_dim};
  PF_ASSIGN(FfnDims moe, read_expert_dims(config, "num_local_experts", "intermediate_size"));
  PF_ASSIGN(moe.shared_hidden, read_optional_width(config, "shared_intermediate_size"));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  PF_ASSIGN(const auto types, config.integers("attn_type_list", 0, 1));
  if (static_cast<std::int64_t>(types.size()) != layers) {
    return config.invalid("attn_type_list",
                          fmt::format("has {} entries for {} layers", types.size(), layers));
  }
  for (const std::int64_t type : types) {
    out.add_layer({type == 1 ? MixerDims(full) : MixerDims(lightning), moe});
  }
  return ok_status();
}

Status read_jamba(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(const AttentionDims attention, read_grouped_attention(config, out.d));
  MambaDims mamba;
  PF_ASSIGN(const std::int64_t expand, config.integer("mamba_expand", 2, 1, kMaxShapeLayers));
  mamba.inner = expand * out.d;
  PF_ASSIGN(mamba.state, read_heads(config, "mamba_d_state", 16));
  PF_ASSIGN(mamba.conv, read_heads(config, "mamba_d_conv", 4));
  PF_ASSIGN(mamba.dt_rank, read_width(config, "mamba_dt_rank", (out.d + 15) / 16));
  FfnDims mlp;
  PF_ASSIGN(mlp.dense_hidden, read_width(config, "intermediate_size"));
  PF_ASSIGN(const FfnDims moe, read_expert_dims(config, "num_experts", "intermediate_size"));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  const auto small = [&](const char* key, std::int64_t value, std::int64_t min) {
    return config.integer(key, value, min, kMaxShapeLayers);
  };
  PF_ASSIGN(const std::int64_t attention_period, small("attn_layer_period", 8, 1));
  PF_ASSIGN(const std::int64_t attention_offset, small("attn_layer_offset", 4, 0));
  PF_ASSIGN(const std::int64_t expert_period, small("expert_layer_period", 2, 1));
  PF_ASSIGN(const std::int64_t expert_offset, small("expert_layer_offset", 1, 0));
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool attends = i % attention_period == attention_offset;
    const bool holds_experts = i % expert_period == expert_offset;
    out.add_layer({attends ? MixerDims(attention) : MixerDims(mamba), holds_experts ? moe : mlp});
  }
  return ok_status();
}

Result<FfnDims> read_nemotron_experts(const JsonMap& config, std::int64_t matrices) {
  PF_ASSIGN(FfnDims moe, read_expert_dims(config, "n_routed_experts", "moe_intermediate_size"));
  PF_ASSIGN(const std::int64_t shared, config.integer("n_shared_experts", 0, 0, kMaxShapeExperts));
  if (shared > 0) {
    PF_ASSIGN(const std::int64_t width, read_width(config, "moe_shared_expert_intermediate_size"));
    moe.shared_hidden = shared * width;
  }
  moe.matrices = matrices;
  moe.router_bias = true;
  return moe;
}

// One character a layer, each of which is one block: M Mamba-2, E experts, * attention, - MLP.
Status read_nemotron_h(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  for (const char* key : {"mlp_bias", "use_bias", "mamba_proj_bias"}) {
    PF_ASSIGN(const bool bias, config.boolean(key, false));
    if (bias) return config.unsupported(key, "is true; only models without that bias are known");
  }
  if (config.has("moe_latent_size")) {
    return config.unsupported("moe_latent_size", "is set; experts on a latent are not known");
  }
  PF_ASSIGN(const std::string pattern, config.text("hybrid_override_pattern", std::nullopt));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  if (static_cast<std::int64_t>(pattern.size()) != layers) {
    return config.invalid("hybrid_override_pattern",
                          fmt::format("has {} letters for {} layers", pattern.size(), layers));
  }
  PF_ASSIGN(AttentionDims attention, read_grouped_attention(config, out.d));
  attention.o_bias = attention.qkv_bias;
  Mamba2Dims mamba;
  PF_ASSIGN(mamba.heads, read_heads(config, "mamba_num_heads"));
  PF_ASSIGN(mamba.head_dim, read_heads(config, "mamba_head_dim"));
  PF_ASSIGN(mamba.groups, read_heads(config, "n_groups", 8));
  PF_ASSIGN(mamba.state, read_heads(config, "ssm_state_size", 128));
  PF_ASSIGN(mamba.conv, read_heads(config, "conv_kernel", 4));
  PF_ASSIGN(const std::string activation, config.text("mlp_hidden_act", "relu2"));
  const std::int64_t matrices = activation == "silu" || activation == "swiglu" ? 3 : 2;
  for (const char letter : pattern) {
    LayerDims layer;
    if (letter == 'M') {
      layer.mixer = mamba;
    } else if (letter == '*') {
      layer.mixer = attention;
    } else if (letter == 'E') {
      PF_ASSIGN(layer.ffn, read_nemotron_experts(config, matrices));
    } else if (letter == '-') {
      PF_ASSIGN(layer.ffn.dense_hidden, read_width(config, "intermediate_size"));
      layer.ffn.matrices = matrices;
    } else {
      return config.unsupported("hybrid_override_pattern",
                                fmt::format("holds {}; known are M, E, * and -",
                                            quote_text(std::string_view(&letter, 1))));
    }
    out.add_layer(layer);
  }
  return ok_status();
}

Result<DeltaDims> read_delta(const JsonMap& config) {
  DeltaDims out;
  PF_ASSIGN(out.key_heads, read_heads(config, "linear_num_key_heads"));
  PF_ASSIGN(out.value_heads, read_heads(config, "linear_num_value_heads"));
  PF_ASSIGN(out.key_dim, read_heads(config, "linear_key_head_dim"));
  PF_ASSIGN(out.value_dim, read_heads(config, "linear_value_head_dim"));
  PF_ASSIGN(out.conv, read_heads(config, "linear_conv_kernel_dim", 4));
  return out;
}

// Whether each layer attends fully; the others are gated delta-nets.
Result<std::vector<bool>> read_full_layers(const JsonMap& config, std::int64_t layers) {
  PF_ASSIGN(const std::int64_t interval,
            config.integer("full_attention_interval", 4, 1, kMaxShapeLayers));
  PF_ASSIGN(const auto types, config.texts("layer_types"));
  if (!types.empty() && static_cast<std::int64_t>(types.size()) != layers) {
    return config.invalid("layer_types",
                          fmt::format("has {} entries for {} layers", types.size(), layers));
  }
  std::vector<bool> out;
  for (std::int64_t i = 0; i < layers; ++i) out.push_back((i + 1) % interval == 0);
  for (std::size_t i = 0; i < types.size(); ++i) {
    out[i] = types[i] == "full_attention";
    if (!out[i] && types[i] != "linear_attention") {
      return config.unsupported("layer_types",
                                fmt::format("holds {}; known are full_attention, linear_attention",
                                            quote_text(types[i])));
    }
  }
  return out;
}

Status read_qwen3_next(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(AttentionDims attention, read_grouped_attention(config, out.d));
  attention.o_bias = attention.qkv_bias;
  attention.qk_norm = QkNorm::PerHead;
  PF_ASSIGN(attention.output_gate, config.boolean("attn_output_gate", true));
  PF_ASSIGN(const DeltaDims delta, read_delta(config));
  PF_ASSIGN(FfnDims moe, read_expert_dims(config, "num_experts", "moe_intermediate_size"));
  PF_ASSIGN(moe.shared_hidden, read_optional_width(config, "shared_expert_intermediate_size"));
  moe.shared_gate = moe.shared_hidden > 0;
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  PF_ASSIGN(const std::int64_t step, config.integer("decoder_sparse_step", 1, 1, kMaxShapeLayers));
  PF_ASSIGN(const auto dense, config.integers("mlp_only_layers", 0, layers - 1));
  PF_ASSIGN(const auto full, read_full_layers(config, layers));
  for (std::int64_t i = 0; i < layers; ++i) {
    LayerDims layer{full[static_cast<std::size_t>(i)] ? MixerDims(attention) : MixerDims(delta),
                    moe};
    if ((i + 1) % step != 0 || std::find(dense.begin(), dense.end(), i) != dense.end()) {
      layer.ffn = {};
      PF_ASSIGN(layer.ffn.dense_hidden, read_width(config, "intermediate_size"));
    }
    out.add_layer(layer);
  }
  return note_prediction_layers(config, "mtp_num_hidden_layers", out);
}

struct SwitchStack {
  std::int64_t layers = 0;
  std::int64_t sparse = 0;
};

Result<SwitchStack> read_switch_stack(const JsonMap& config, const char* layers_key,
                                      const char* sparse_key) {
  SwitchStack out;
  PF_ASSIGN(out.layers, read_layer_count(config, layers_key));
  PF_ASSIGN(out.sparse, config.integer(sparse_key, out.layers / 4, 0, out.layers));
  return out;
}

// Layers of a stack: every (layers / sparse)-th holds experts, the last of its group.
void add_switch_layers(const SwitchStack& stack, const AttentionDims& attention,
                       const std::array<FfnDims, 2>& ffns, ModelDims& out) {
  const std::int64_t step = stack.sparse > 0 ? stack.layers / stack.sparse : 0;
  for (std::int64_t i = 0; i < stack.layers; ++i) {
    const bool holds_experts = step > 0 && i % step == (step > 1 ? 1 : 0);
    out.add_layer({attention, ffns[holds_experts ? 1 : 0]});
  }
}

// The decoder is the model; the encoder runs once per request and is said to be missing, with its
// size.
Status read_switch(const JsonMap& config, ModelDims& out) {
  PF_ASSIGN(out.vocab, read_width(config, "vocab_size"));
  PF_ASSIGN(out.d, read_width(config, "d_model"));
  PF_ASSIGN(out.tied_embeddings, config.boolean("tie_word_embeddings", true));
  AttentionDims attention;
  PF_ASSIGN(attention.heads, read_heads(config, "num_heads"));
  attention.kv_heads = attention.heads;
  PF_ASSIGN(attention.head_dim, read_heads(config, "d_kv"));
  std::array<FfnDims, 2> ffns;
  PF_ASSIGN(const std::int64_t width, read_width(config, "d_ff"));
  ffns[0].dense_hidden = width;
  PF_ASSIGN(ffns[1].experts, config.integer("num_experts", std::nullopt, 1, kMaxShapeExperts));
  ffns[1].expert_hidden = width;
  ffns[1].top_k = 1;
  ffns[0].matrices = ffns[1].matrices = 2;
  PF_ASSIGN(out.relative_buckets,
            config.integer("relative_attention_num_buckets", 32, 1, kMaxShapeHeads));
  PF_ASSIGN(const SwitchStack encoder,
            read_switch_stack(config, "num_layers", "num_sparse_encoder_layers"));
  const char* decoder_key = config.has("num_decoder_layers") ? "num_decoder_layers" : "num_layers";
  PF_ASSIGN(const SwitchStack decoder,
            read_switch_stack(config, decoder_key, "num_sparse_decoder_layers"));
  ModelDims first_half = out;
  first_half.vocab = 0;
  add_switch_layers(encoder, attention, ffns, first_half);
  attention.cross = true;
  add_switch_layers(decoder, attention, ffns, out);
  PF_ASSIGN(const ModelShape shape, build_shape(first_half, "encoder"));
  out.not_counted.push_back(
      fmt::format("encoder of {} layers: {} parameters; and the decoder's cross-attention cache",
                  encoder.layers, format_count(static_cast<double>(count_params(shape).total))));
  return ok_status();
}

}  // namespace

std::span<const HfFamily> hybrid_families() {
  static constexpr std::array kFamilies = {
      HfFamily{"jamba", read_jamba},
      HfFamily{"minimax_m1", read_minimax_m1},
      HfFamily{"minimax_text_01", read_minimax_m1},
      HfFamily{"nemotron_h", read_nemotron_h},
      HfFamily{"qwen3_5_moe", read_qwen3_next},
      HfFamily{"qwen3_5_moe_text", read_qwen3_next},
      HfFamily{"qwen3_next", read_qwen3_next},
      HfFamily{"switch_transformers", read_switch},
  };
  return kFamilies;
}

}  // namespace pentafold
