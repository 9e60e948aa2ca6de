// Tiny models of every family with seeded weights: small enough to run under every plan, odd enough
// to break a wrong slice (head groups, leaves that are no power of two, uneven vocabulary).
#pragma once

#include <string>
#include <vector>

#include "spec/model.h"

namespace pentafold::testing {

ModelSpec tiny_mixtral();    // GQA, top-2 of 8
ModelSpec tiny_sliding();    // Mixtral with a window shorter than the prompts
ModelSpec tiny_qwen2_moe();  // shared expert and gate, qkv bias, one dense layer
ModelSpec tiny_qwen3_moe();  // per-head norm, norm_topk, top-4
ModelSpec tiny_olmoe();      // full-width norm with fewer KV heads, clip, no renormalisation
ModelSpec tiny_llama();      // dense, biases, tied embeddings, MQA
ModelSpec tiny_synthetic();  // 2-matrix experts, top-1, softmax after top-k

std::vector<ModelSpec> tiny_models();

}  // namespace pentafold::testing
