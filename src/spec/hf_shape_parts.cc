// What most families' config.json files have in common.
#include <fmt/format.h>

#include "spec/hf_shape_families.h"

namespace pentafold {

Result<std::int64_t> read_width(const JsonMap& config, std::string_view key,
                                std::optional<std::int64_t> default_value) {
  return config.integer(key, default_value, 1, kMaxShapeWidth);
}

Result<std::int64_t> read_heads(const JsonMap& config, std::string_view key,
                                std::optional<std::int64_t> default_value) {
  return config.integer(key, default_value, 1, kMaxShapeHeads);
}

Result<std::int64_t> read_layer_count(const JsonMap& config, std::string_view key) {
  return config.integer(key, std::nullopt, 1, kMaxShapeLayers);
}

Result<std::int64_t> read_optional_width(const JsonMap& config, std::string_view key) {
  return config.integer(key, 0, 0, kMaxShapeWidth);
}

Status read_outline(const JsonMap& config, ModelDims& out) {
  PF_ASSIGN(out.vocab, read_width(config, "vocab_size"));
  PF_ASSIGN(out.d, read_width(config, "hidden_size"));
  PF_ASSIGN(out.max_positions, config.integer("max_position_embeddings", 0, 0, kMaxShapePositions));
  // A wrapper around a text model may have said it already.
  PF_ASSIGN(out.tied_embeddings, config.boolean("tie_word_embeddings", out.tied_embeddings));
  return ok_status();
}

Result<AttentionDims> read_grouped_attention(const JsonMap& config, std::int64_t d) {
  AttentionDims out;
  PF_ASSIGN(out.heads, read_heads(config, "num_attention_heads"));
  PF_ASSIGN(out.kv_heads, read_heads(config, "num_key_value_heads", out.heads));
  if (!config.has("head_dim") && d % out.heads != 0) {
    return config.invalid(
        "hidden_size",
        fmt::format("is {}, not a multiple of {} heads, and no head_dim is given", d, out.heads));
  }
  PF_ASSIGN(out.head_dim, read_heads(config, "head_dim", d / out.heads));
  PF_ASSIGN(out.qkv_bias, config.boolean("attention_bias", false));
  return out;
}

Result<FfnDims> read_expert_dims(const JsonMap& config, std::string_view experts_key,
                                 std::string_view width_key) {
  FfnDims out;
  PF_ASSIGN(out.experts, config.integer(experts_key, std::nullopt, 1, kMaxShapeExperts));
  PF_ASSIGN(out.top_k, config.integer("num_experts_per_tok", std::nullopt, 1, out.experts));
  PF_ASSIGN(out.expert_hidden, read_width(config, width_key));
  return out;
}

Status note_prediction_layers(const JsonMap& config, std::string_view key, ModelDims& out) {
  PF_ASSIGN(const std::int64_t layers, config.integer(key, 0, 0, kMaxShapeLayers));
  if (layers > 0) {
    out.not_counted.push_back(
        fmt::format("{} multi-token prediction layer{}, used only to draft tokens", layers,
                    layers == 1 ? "" : "s"));
  }
  return ok_status();
}

}  // namespace pentafold
