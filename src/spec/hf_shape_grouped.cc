// Families with grouped-query attention in every layer.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/quote.h"
#include "spec/hf_shape_families.h"

namespace pentafold {
namespace {

void repeat(const LayerDims& layer, std::int64_t times, ModelDims& out) {
  for (std::int64_t i = 0; i < times; ++i) out.add_layer(layer);
}

Status read_dbrx(const JsonMap& config, ModelDims& out) {
  PF_ASSIGN(out.vocab, read_width(config, "vocab_size"));
  PF_ASSIGN(out.d, read_width(config, "d_model"));
  PF_ASSIGN(out.max_positions, config.integer("max_seq_len", 0, 0, kMaxShapePositions));
  PF_ASSIGN(out.tied_embeddings, config.boolean("tie_word_embeddings", false));
  PF_ASSIGN(const JsonMap attn, config.map("attn_config"));
  PF_ASSIGN(const JsonMap experts, config.map("ffn_config"));
  AttentionDims attention;
  PF_ASSIGN(attention.heads, read_heads(config, "n_heads"));
  PF_ASSIGN(attention.kv_heads, read_heads(attn, "kv_n_heads", 1));
  PF_ASSIGN(attention.head_dim,
            config.integer("head_dim", out.d / attention.heads, 1, kMaxShapeHeads));
  FfnDims ffn;
  PF_ASSIGN(ffn.experts, experts.integer("moe_num_experts", std::nullopt, 1, kMaxShapeExperts));
  PF_ASSIGN(ffn.top_k, experts.integer("moe_top_k", std::nullopt, 1, ffn.experts));
  PF_ASSIGN(ffn.expert_hidden, read_width(experts, "ffn_hidden_size"));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "n_layers"));
  repeat({attention, ffn}, layers, out);
  return ok_status();
}

Status read_glm4_moe(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(AttentionDims attention, read_grouped_attention(config, out.d));
  PF_ASSIGN(const bool norm, config.boolean("use_qk_norm", false));
  if (norm) attention.qk_norm = QkNorm::PerHead;
  PF_ASSIGN(FfnDims moe, read_expert_dims(config, "n_routed_experts", "moe_intermediate_size"));
  PF_ASSIGN(const std::int64_t shared, config.integer("n_shared_experts", 0, 0, kMaxShapeExperts));
  moe.shared_hidden = shared * moe.expert_hidden;
  moe.router_bias = true;
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  PF_ASSIGN(const std::int64_t dense, config.integer("first_k_dense_replace", 1, 0, layers));
  if (dense > 0) {
    FfnDims mlp;
    PF_ASSIGN(mlp.dense_hidden, read_width(config, "intermediate_size"));
    repeat({attention, mlp}, dense, out);
  }
  repeat({attention, moe}, layers - dense, out);
  return note_prediction_layers(config, "num_nextn_predict_layers", out);
}

Status read_gpt_oss(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(AttentionDims attention, read_grouped_attention(config, out.d));
  attention.o_bias = attention.qkv_bias;
  attention.sinks = true;
  PF_ASSIGN(FfnDims moe, read_expert_dims(config, "num_local_experts", "intermediate_size"));
  moe.router_bias = moe.expert_bias = true;
  PF_ASSIGN(const std::int64_t window,
            config.integer("sliding_window", 128, 1, kMaxShapePositions));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  PF_ASSIGN(const auto types, config.texts("layer_types"));
  if (!types.empty() && static_cast<std::int64_t>(types.size()) != layers) {
    return config.invalid("layer_types",
                          fmt::format("has {} entries for {} layers", types.size(), layers));
  }
  for (std::int64_t i = 0; i < layers; ++i) {
    bool slides = i % 2 == 0;
    if (!types.empty()) {
      const std::string& type = types[static_cast<std::size_t>(i)];
      slides = type == "sliding_attention";
      if (!slides && type != "full_attention") {
        return config.unsupported(
            "layer_types",
            fmt::format("holds {}; known are full_attention, sliding_attention", quote_text(type)));
      }
    }
    attention.window = slides ? window : 0;
    out.add_layer({attention, moe});
  }
  return ok_status();
}

// Every interleave_moe_layer_step-th layer holds experts and one shared expert; every fourth layer
// attends without positions to all keys, the others within chunks.
Status read_llama4(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(AttentionDims attention, read_grouped_attention(config, out.d));
  attention.o_bias = attention.qkv_bias;
  PF_ASSIGN(FfnDims moe, read_expert_dims(config, "num_local_experts", "intermediate_size"));
  moe.shared_hidden = moe.expert_hidden;
  FfnDims mlp;
  PF_ASSIGN(mlp.dense_hidden, read_width(config, "intermediate_size_mlp"));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  PF_ASSIGN(const std::int64_t step,
            config.integer("interleave_moe_layer_step", 1, 1, kMaxShapeLayers));
  PF_ASSIGN(const std::int64_t chunk,
            config.integer("attention_chunk_size", 8192, 1, kMaxShapePositions));
  PF_ASSIGN(const std::int64_t interval,
            config.integer("no_rope_layer_interval", 4, 1, kMaxShapeLayers));
  PF_ASSIGN(const auto rope, config.integers("no_rope_layers", 0, 1));
  if (!rope.empty() && static_cast<std::int64_t>(rope.size()) != layers) {
    return config.invalid("no_rope_layers",
                          fmt::format("has {} entries for {} layers", rope.size(), layers));
  }
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool positions =
        rope.empty() ? (i + 1) % interval != 0 : rope[static_cast<std::size_t>(i)] == 1;
    attention.window = positions ? chunk : 0;
    out.add_layer({attention, (i + 1) % step == 0 ? moe : mlp});
  }
  return ok_status();
}

Status read_ernie(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(AttentionDims attention, read_grouped_attention(config, out.d));
  PF_ASSIGN(attention.qkv_bias, config.boolean("use_bias", false));
  attention.o_bias = attention.qkv_bias;
  FfnDims mlp;
  PF_ASSIGN(mlp.dense_hidden, read_width(config, "intermediate_size"));
  FfnDims moe;
  PF_ASSIGN(moe.experts, config.integer("moe_num_experts", std::nullopt, 1, kMaxShapeExperts));
  PF_ASSIGN(moe.top_k, config.integer("moe_k", std::nullopt, 1, moe.experts));
  PF_ASSIGN(moe.expert_hidden, read_width(config, "moe_intermediate_size"));
  PF_ASSIGN(const std::int64_t shared,
            config.integer("moe_num_shared_experts", 0, 0, kMaxShapeExperts));
  moe.shared_hidden = shared * moe.expert_hidden;
  moe.router_bias = true;
  mlp.dense_bias = attention.qkv_bias;
  moe.expert_bias = attention.qkv_bias;
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  PF_ASSIGN(const std::int64_t first, config.integer("moe_layer_start_index", 1, 0, layers));
  PF_ASSIGN(const std::int64_t end, config.integer("moe_layer_end_index", -1, -1, layers - 1));
  PF_ASSIGN(const std::int64_t step, config.integer("moe_layer_interval", 1, 1, kMaxShapeLayers));
  const std::int64_t last = end < 0 ? layers - 1 : end;
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool holds_experts = i >= first && i <= last && (i + 1) % step == 0;
    out.add_layer({attention, holds_experts ? moe : mlp});
  }
  return note_prediction_layers(config, "num_nextn_predict_layers", out);
}

Status read_granite(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(AttentionDims attention, read_grouped_attention(config, out.d));
  attention.o_bias = attention.qkv_bias;
  PF_ASSIGN(const FfnDims moe, read_expert_dims(config, "num_local_experts", "intermediate_size"));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  repeat({attention, moe}, layers, out);
  return ok_status();
}

Status read_grok(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(const AttentionDims attention, read_grouped_attention(config, out.d));
  PF_ASSIGN(const FfnDims moe, read_expert_dims(config, "num_experts", "intermediate_size"));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  out.norms_per_part = 2;
  repeat({attention, moe}, layers, out);
  return ok_status();
}

// The published files give one number, or the same number for every layer.
Result<std::int64_t> read_uniform(const JsonMap& config, std::string_view key, std::int64_t max) {
  PF_ASSIGN(const auto values, config.integers(key, 0, max));
  if (values.empty()) return config.invalid(key, "is missing; it must be a whole number");
  for (const std::int64_t value : values) {
    if (value != values.front()) {
      return config.unsupported(
          key, fmt::format("differs between layers ({} and {})", values.front(), value));
    }
  }
  return values.front();
}

Status read_hunyuan(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(AttentionDims attention, read_grouped_attention(config, out.d));
  attention.o_bias = attention.qkv_bias;
  PF_ASSIGN(const bool norm, config.boolean("use_qk_norm", true));
  if (norm) attention.qk_norm = QkNorm::PerHead;
  FfnDims moe;
  PF_ASSIGN(moe.experts, read_uniform(config, "num_experts", kMaxShapeExperts));
  PF_ASSIGN(moe.top_k, read_uniform(config, "moe_topk", kMaxShapeExperts));
  PF_ASSIGN(moe.expert_hidden,
            read_uniform(
                config,
                config.has("moe_intermediate_size") ? "moe_intermediate_size" : "intermediate_size",
                kMaxShapeWidth));
  PF_ASSIGN(const std::int64_t shared, read_uniform(config, "num_shared_expert", kMaxShapeExperts));
  moe.shared_hidden = shared * moe.expert_hidden;
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  repeat({attention, moe}, layers, out);
  return ok_status();
}

Status read_phimoe(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(AttentionDims attention, read_grouped_attention(config, out.d));
  attention.o_bias = attention.qkv_bias;
  PF_ASSIGN(attention.window, config.integer("sliding_window", 0, 0, kMaxShapePositions));
  if (out.max_positions > 0 && attention.window >= out.max_positions) attention.window = 0;
  PF_ASSIGN(out.head_bias, config.boolean("lm_head_bias", false));
  out.norm_bias = true;
  PF_ASSIGN(const FfnDims moe, read_expert_dims(config, "num_local_experts", "intermediate_size"));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  repeat({attention, moe}, layers, out);
  return ok_status();
}

Status read_minimax_m2(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(AttentionDims attention, read_grouped_attention(config, out.d));
  PF_ASSIGN(const bool norm, config.boolean("use_qk_norm", true));
  PF_ASSIGN(const std::string norm_type, config.text("qk_norm_type", "per_layer"));
  if (norm) {
    attention.qk_norm = norm_type == "per_layer" ? QkNorm::FullWidth : QkNorm::PerHead;
  }
  PF_ASSIGN(FfnDims moe, read_expert_dims(config, "num_local_experts", "intermediate_size"));
  PF_ASSIGN(moe.router_bias, config.boolean("use_routing_bias", true));
  PF_ASSIGN(moe.shared_hidden, read_optional_width(config, "shared_intermediate_size"));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  repeat({attention, moe}, layers, out);
  PF_ASSIGN(const bool prediction, config.boolean("use_mtp", false));
  return prediction ? note_prediction_layers(config, "num_mtp_modules", out) : ok_status();
}

}  // namespace

std::span<const HfFamily> grouped_families() {
  static constexpr std::array kFamilies = {
      HfFamily{"dbrx", read_dbrx},
      HfFamily{"ernie4_5_moe", read_ernie},
      HfFamily{"glm4_moe", read_glm4_moe},
      HfFamily{"gpt_oss", read_gpt_oss},
      HfFamily{"granitemoe", read_granite},
      HfFamily{"grok-1", read_grok},
      HfFamily{"hunyuan_v1_moe", read_hunyuan},
      HfFamily{"llama4", read_llama4},
      HfFamily{"llama4_text", read_llama4},
      HfFamily{"minimax_m2", read_minimax_m2},
      HfFamily{"phimoe", read_phimoe},
  };
  return kFamilies;
}

}  // namespace pentafold
