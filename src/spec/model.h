// ModelSpec: everything the rest of Pentafold knows about a model, and the numbers that follow from
// it alone.
//
// One value for all families: Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE, Llama, Qwen3 (spec/hf_config.cc
// reads a Hugging Face config.json) and synthetic shapes (spec/shape_spec.cc reads YAML). Only what
// changes arithmetic is here; names of tensors in a checkpoint are in spec/tensors.h.
// Source of the families' arithmetic: the models' public reference implementations.
// Cost: a plain value; counts are O(layers). Held by spec/model_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/id.h"
#include "base/result.h"

namespace pentafold {

enum class Family { Mixtral, Qwen2Moe, Qwen3Moe, Olmoe, Llama, Qwen3, Synthetic };
const char* to_string(Family family);

// Position scaling of rotary embeddings. Linear: frequencies / factor. Llama3: low frequencies
// scaled, high kept, smooth between. Yarn: ramp between both, and cos/sin times attention_factor.
enum class RopeScaling { None, Linear, Llama3, Yarn };
struct RopeSpec {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::None;
  double factor = 1.0;
  double low_freq_factor = 1.0;   // Llama3
  double high_freq_factor = 4.0;  // Llama3
  double beta_fast = 32.0;        // Yarn
  double beta_slow = 1.0;         // Yarn
  double attention_factor = 1.0;  // Yarn: resolved when read (0.1 ln(factor) + 1 unless given)
  bool truncate = true;           // Yarn: round the correction range to integers
  std::int64_t original_max_position = 0;  // Llama3, Yarn
};

// RMSNorm of queries and keys after projection: over each head (Qwen3) or over the whole projected
// width, all heads together (OLMoE).
enum class QkNorm { None, PerHead, FullWidth };

enum class RouterOrder {
  SoftmaxTopk,  // softmax over all experts, take top_k, renormalise if norm_topk
  TopkSoftmax,  // take top_k of the logits, softmax over those
};

enum class Activation { Silu, Relu };

struct LayerSpec {
  bool moe = false;
  std::int64_t sliding_window = 0;  // keys seen, this token included; 0: all
};

struct ModelSpec {
  std::string name;
  Family family = Family::Synthetic;

  std::int64_t vocab = 0;
  std::int64_t d = 0;  // width of the residual stream ("hidden_size" in config.json)
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t max_positions = 0;  // 0: not declared
  std::vector<LayerSpec> layers;

  std::int64_t dense_hidden = 0;  // width of the MLP in layers without experts
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::int64_t expert_hidden = 0;  // width inside one expert
  std::int64_t shared_hidden = 0;  // width of the shared expert; 0: none
  bool shared_gate = false;        // shared expert's output times sigmoid(x . gate)
  bool gated_mlp = true;  // 3 matrices: down(act(gate x) * up x); false: 2: down(act(up x))
  Activation activation = Activation::Silu;
  RouterOrder router_order = RouterOrder::SoftmaxTopk;
  bool norm_topk = true;

  QkNorm qk_norm = QkNorm::None;
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  std::optional<double> clip_qkv;  // OLMoE: clamp q, k, v to [-c, c]
  RopeSpec rope;
  double norm_eps = 1e-5;
  bool tied_embeddings = false;

  DType dtype = DType::BF16;  // of the stored weights
  std::vector<std::int32_t> bos_ids;
  std::vector<std::int32_t> eos_ids;

  // Synthetic weights: seed, and the total the author declared (checked, never believed).
  std::uint64_t seed = 0;
  std::optional<double> declared_total_params;

  std::int64_t num_layers() const { return static_cast<std::int64_t>(layers.size()); }
  bool has_experts() const { return experts > 0; }
  std::int64_t q_width() const { return heads * head_dim; }
  std::int64_t kv_width() const { return kv_heads * head_dim; }

  // Leaves of the canonical reductions (base/reduction_tree.h), from the model alone.
  std::int64_t attention_leaves() const { return heads; }
  // Of a contraction over an MLP's hidden width: gcd(hidden, 48), so that 1, 2, 3, 4, 6, 8, 12, 16
  // ways (where they divide the width) all have a place in one tree.
  static std::int64_t mlp_leaves(std::int64_t hidden);
};

// Internal consistency (positive widths, heads % kv_heads == 0, top_k <= experts, even head_dim,
// ...): one sentence, code InvalidSpec. `file` names the input in the message.
Status validate(const ModelSpec& model, const std::string& file);

struct ParamCounts {
  std::int64_t total = 0;  // every stored parameter once (tied embeddings once)
  std::int64_t active =
      0;  // read for one token: top_k of the experts, all else; embeddings included
};
ParamCounts count_params(const ModelSpec& model);

// One sentence if declared_total_params is off by more than 1 %: "declares 10.0 B parameters, its
// dimensions give 417 M (24.0x less)".
std::optional<std::string> declaration_contradiction(const ModelSpec& model);

// K and V of one token over all layers, at `dtype`.
std::int64_t kv_bytes_per_token(const ModelSpec& model, DType dtype);

}  // namespace pentafold
