// hf_shape_families: what each family's config.json calls its dimensions.
//
// Within spec only; parse_hf_shape (spec/load_shape.h) picks the reader by model_type. A reader
// fills layers, embeddings and what is not counted; name, family and precision are its caller's.
// Defaults of absent keys are those of the families' public configuration classes.
// Source: the configuration and modelling files published with the models. Cost: O(layers).
// Held by spec/hf_shape_test.cc and tests/fuzz/shape_fuzz.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "spec/json_reader.h"
#include "spec/layer_dims.h"

namespace pentafold {

struct HfFamily {
  std::string_view model_type;
  Status (*read)(const JsonMap& config, ModelDims& out);
};
std::span<const HfFamily> grouped_families();  // grouped-query attention in every layer
std::span<const HfFamily> latent_families();   // MLA and what came of it
std::span<const HfFamily> hybrid_families();   // some layers linear or recurrent; encoder-decoders

// Positive integers within the bounds of layer_dims.h; nullopt as default: required.
Result<std::int64_t> read_width(const JsonMap& config, std::string_view key,
                                std::optional<std::int64_t> default_value = std::nullopt);
Result<std::int64_t> read_heads(const JsonMap& config, std::string_view key,
                                std::optional<std::int64_t> default_value = std::nullopt);
Result<std::int64_t> read_layer_count(const JsonMap& config, std::string_view key);
// Zero is allowed.
Result<std::int64_t> read_optional_width(const JsonMap& config, std::string_view key);

// vocab_size, hidden_size, max_position_embeddings, tie_word_embeddings.
Status read_outline(const JsonMap& config, ModelDims& out);
// num_attention_heads, num_key_value_heads, head_dim, attention_bias (on q, k and v).
Result<AttentionDims> read_grouped_attention(const JsonMap& config, std::int64_t d);
// `experts_key`, num_experts_per_tok and `width_key`.
Result<FfnDims> read_expert_dims(const JsonMap& config, std::string_view experts_key,
                                 std::string_view width_key);
// Notes multi-token prediction modules as not counted.
Status note_prediction_layers(const JsonMap& config, std::string_view key, ModelDims& out);

}  // namespace pentafold
