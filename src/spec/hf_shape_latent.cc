// Families with latent attention: DeepSeek-V2 and its descendants.
#include <fmt/format.h>

#include <array>

#include "spec/hf_shape_families.h"

namespace pentafold {
namespace {

Result<LatentDims> read_latent(const JsonMap& config) {
  LatentDims out;
  PF_ASSIGN(out.heads, read_heads(config, "num_attention_heads"));
  PF_ASSIGN(out.q_rank, read_optional_width(config, "q_lora_rank"));
  PF_ASSIGN(out.kv_rank, read_width(config, "kv_lora_rank"));
  PF_ASSIGN(out.nope, read_heads(config, "qk_nope_head_dim"));
  PF_ASSIGN(out.rope, read_heads(config, "qk_rope_head_dim"));
  PF_ASSIGN(out.v, read_heads(config, "v_head_dim"));
  PF_ASSIGN(out.index_heads, config.integer("index_n_heads", 0, 0, kMaxShapeHeads));
  if (out.index_heads == 0) return out;
  PF_ASSIGN(out.index_dim, read_heads(config, "index_head_dim"));
  PF_ASSIGN(out.index_top_k, config.integer("index_topk", std::nullopt, 1, kMaxShapeWidth));
  return out;
}

// Load is balanced by a bias on the router instead of a loss.
Result<bool> balances_by_bias(const JsonMap& config) {
  const auto method = config.text("topk_method", "greedy");
  if (!method.ok()) return method.error();
  return *method == "noaux_tc";
}

Result<FfnDims> read_deepseek_experts(const JsonMap& config) {
  PF_ASSIGN(FfnDims moe, read_expert_dims(config, "n_routed_experts", "moe_intermediate_size"));
  PF_ASSIGN(const std::int64_t shared, config.integer("n_shared_experts", 0, 0, kMaxShapeExperts));
  moe.shared_hidden = shared * moe.expert_hidden;
  PF_ASSIGN(moe.router_bias, balances_by_bias(config));
  return moe;
}

Status read_deepseek(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  PF_ASSIGN(const LatentDims latent, read_latent(config));
  PF_ASSIGN(const FfnDims moe, read_deepseek_experts(config));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  PF_ASSIGN(const std::int64_t dense, config.integer("first_k_dense_replace", 0, 0, layers));
  PF_ASSIGN(const std::int64_t step, config.integer("moe_layer_freq", 1, 1, kMaxShapeLayers));
  FfnDims mlp;
  PF_ASSIGN(mlp.dense_hidden, read_width(config, "intermediate_size"));
  for (std::int64_t i = 0; i < layers; ++i) {
    out.add_layer({latent, i >= dense && i % step == 0 ? moe : mlp});
  }
  return note_prediction_layers(config, "num_nextn_predict_layers", out);
}

// Layers compress by 128 and attend to all latents, or by 4 with overlap and attend to the latents
// that an indexer selects.
constexpr std::int64_t kOverlappingRatio = 4;

Status read_deepseek_v4(const JsonMap& config, ModelDims& out) {
  PF_TRY(read_outline(config, out));
  CompressedDims attention;
  PF_ASSIGN(attention.heads, read_heads(config, "num_attention_heads"));
  PF_ASSIGN(attention.head_dim, read_heads(config, "head_dim"));
  PF_ASSIGN(attention.q_rank, read_width(config, "q_lora_rank"));
  PF_ASSIGN(attention.o_rank, read_width(config, "o_lora_rank"));
  PF_ASSIGN(attention.o_groups, read_heads(config, "o_groups"));
  PF_ASSIGN(attention.window, config.integer("sliding_window", std::nullopt, 1, kMaxShapeWidth));
  PF_ASSIGN(const std::int64_t index_heads, read_heads(config, "index_n_heads"));
  PF_ASSIGN(const std::int64_t index_dim, read_heads(config, "index_head_dim"));
  PF_ASSIGN(const std::int64_t index_top_k,
            config.integer("index_topk", std::nullopt, 1, kMaxShapeWidth));
  PF_ASSIGN(FfnDims moe, read_deepseek_experts(config));
  const bool router_bias = moe.router_bias;
  PF_ASSIGN(out.residual_streams, config.integer("hc_mult", 4, 1, kMaxShapeExperts));
  PF_ASSIGN(const std::int64_t layers, read_layer_count(config, "num_hidden_layers"));
  PF_ASSIGN(const std::int64_t hashed, config.integer("num_hash_layers", 0, 0, layers));
  PF_ASSIGN(const auto ratios, config.integers("compress_ratios", 0, kMaxShapeHeads));
  if (static_cast<std::int64_t>(ratios.size()) < layers) {
    return config.invalid("compress_ratios",
                          fmt::format("has {} entries for {} layers", ratios.size(), layers));
  }
  for (std::int64_t i = 0; i < layers; ++i) {
    attention.ratio = ratios[static_cast<std::size_t>(i)];
    attention.overlap = attention.ratio == kOverlappingRatio;
    attention.index_heads = attention.overlap ? index_heads : 0;
    attention.index_dim = attention.overlap ? index_dim : 0;
    attention.index_top_k = attention.overlap ? index_top_k : 0;
    moe.router_bias = router_bias && i >= hashed;
    out.add_layer({attention, moe});
  }
  if (hashed > 0) {
    out.not_counted.push_back(fmt::format(
        "tables from token to experts of {} hash-routed layers: integers, not parameters", hashed));
  }
  return note_prediction_layers(config, "num_nextn_predict_layers", out);
}

}  // namespace

std::span<const HfFamily> latent_families() {
  static constexpr std::array kFamilies = {
      HfFamily{"deepseek_v2", read_deepseek},    HfFamily{"deepseek_v3", read_deepseek},
      HfFamily{"deepseek_v32", read_deepseek},   HfFamily{"glm_moe_dsa", read_deepseek},
      HfFamily{"kimi_k2", read_deepseek},        HfFamily{"kimi_k25", read_deepseek},
      HfFamily{"deepseek_v4", read_deepseek_v4},
  };
  return kFamilies;
}

}  // namespace pentafold
