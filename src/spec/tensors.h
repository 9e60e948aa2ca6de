// The tensors of a model: what parameters there are, their shapes, and what a checkpoint calls
// them.
//
// A TensorId names a parameter by role, independent of family; checkpoint_name gives the family's
// name for it. model_tensors lists all of a model's parameters once: weights are loaded, verified
// (each held exactly as often as the plan says) and counted from this one list.
// Cost: O(layers x experts). Held by spec/tensors_test.cc.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "base/id.h"
#include "spec/model.h"

namespace pentafold {

enum class TensorRole {
  Embedding,  // (vocab, d)
  InputNorm,  // (d)
  Q,
  K,
  V,  // (heads * head_dim, d), (kv_heads * head_dim, d) x 2
  QBias,
  KBias,
  VBias,
  OBias,
  QNorm,
  KNorm,     // (head_dim), or (heads * head_dim) / (kv_heads * head_dim) for FullWidth
  O,         // (d, heads * head_dim)
  PostNorm,  // (d)
  Router,    // (experts, d)
  Gate,
  Up,
  Down,  // routed expert `expert`, or the dense MLP when expert < 0: (hidden, d) x 2, (d, hidden)
  GateBias,
  UpBias,
  DownBias,  // dense MLP only (Llama mlp_bias)
  SharedGate,
  SharedUp,
  SharedDown,    // shared expert
  SharedRouter,  // (1, d): sigmoid gate of the shared expert
  FinalNorm,     // (d)
  LmHead,        // (vocab, d); absent when embeddings are tied
};
const char* to_string(TensorRole role);

struct TensorId {
  TensorRole role = TensorRole::Embedding;
  std::int32_t layer = -1;   // -1: not in a layer
  std::int32_t expert = -1;  // -1: not a routed expert
  friend auto operator<=>(const TensorId&, const TensorId&) = default;
};

struct TensorInfo {
  TensorId id;
  std::int64_t rows = 0;  // of an (n, k) matrix stored row-major: n outputs
  std::int64_t cols = 1;  // k inputs; 1 for vectors
  std::int64_t count() const { return rows * cols; }
};

std::vector<TensorInfo> model_tensors(const ModelSpec& model);

// Shape of one parameter; CHECKs that the model has it.
TensorInfo tensor_info(const ModelSpec& model, TensorId id);

// What the family's checkpoints call it: "model.layers.3.mlp.experts.7.up_proj.weight".
std::string checkpoint_name(const ModelSpec& model, TensorId id);

}  // namespace pentafold

template <>
struct std::hash<pentafold::TensorId> {
  std::size_t operator()(const pentafold::TensorId& t) const noexcept {
    return (static_cast<std::size_t>(t.role) * 4099 + static_cast<std::size_t>(t.layer + 1)) *
               65599 +
           static_cast<std::size_t>(t.expert + 1);
  }
};
