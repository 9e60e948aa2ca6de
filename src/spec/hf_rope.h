// hf_rope: the rotary embedding that a Hugging Face config declares.
//
// Two spellings are read: rope_theta + rope_scaling (transformers 4) and rope_parameters
// (transformers 5). Kinds: default, linear, llama3, yarn; others are refused by name.
// Source: transformers' modeling_rope_utils, whose defaults these are. Cost: a few look-ups.
// Held by spec/hf_config_test.cc.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "spec/json_reader.h"
#include "spec/model.h"

namespace pentafold {

// `default_theta` and `max_positions` (with the family's default applied) are used where the config
// gives no rope_theta / no original_max_position_embeddings.
Result<RopeSpec> read_rope(const JsonMap& config, double default_theta, std::int64_t max_positions);

}  // namespace pentafold
