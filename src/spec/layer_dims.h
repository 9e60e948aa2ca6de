// layer_dims: the dimensions of a layer, by kind, and the weights and costs that follow from them.
//
// config.json of every family (spec/hf_shape.cc), the catalog's YAML (spec/catalog_shape.cc) and
// ModelSpec all become ModelDims, and build_shape is the one place that knows which matrices a kind
// of layer has. Sources, by kind: the models' public reference implementations; Latent: DeepSeek-V2
// (arXiv 2405.04434), with V3.2's indexer; Compressed: DeepSeek-V4; Lightning: MiniMax-01 (arXiv
// 2501.08313); Delta: Gated DeltaNet (arXiv 2412.06464) as in Qwen3-Next; Mamba: arXiv 2312.00752
// with Jamba's norms (arXiv 2403.19887); Mamba2: arXiv 2405.21060 as in Nemotron-H.
// Cost: O(kinds). Held by spec/model_shape_test.cc and spec/load_shape_test.cc.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "spec/model_shape.h"

namespace pentafold {

inline constexpr std::int64_t kMaxShapeWidth = std::int64_t{1} << 24;
inline constexpr std::int64_t kMaxShapeHeads = 65536;  // and the width of one head
inline constexpr std::int64_t kMaxShapeLayers = 1024;
inline constexpr std::int64_t kMaxShapeExperts = 4096;
inline constexpr std::int64_t kMaxShapePositions = std::int64_t{1} << 40;

struct NoMixer {
  bool operator==(const NoMixer&) const = default;
};

// Multi-head, grouped-query or multi-query attention.
struct AttentionDims {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t window = 0;  // 0: sees everything
  bool qkv_bias = false;
  bool o_bias = false;
  QkNorm qk_norm = QkNorm::None;
  bool output_gate = false;  // the query projection also gives a gate of its own width
  bool sinks = false;        // a learned logit per head
  bool cross = false;        // a second, cross attention of the same dimensions (decoders)
  bool operator==(const AttentionDims&) const = default;
};

// Multi-head latent attention, with a sparse indexer where index_heads > 0.
struct LatentDims {
  std::int64_t heads = 0;
  std::int64_t q_rank = 0;  // 0: queries are projected directly
  std::int64_t kv_rank = 0;
  std::int64_t nope = 0;  // of a head's query: the part without and with position
  std::int64_t rope = 0;
  std::int64_t v = 0;
  std::int64_t index_heads = 0;
  std::int64_t index_dim = 0;
  std::int64_t index_top_k = 0;
  bool operator==(const LatentDims&) const = default;
};

// One latent per `ratio` tokens (0: none) beside a window of single tokens; keys are values.
struct CompressedDims {
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t q_rank = 0;
  std::int64_t o_rank = 0;
  std::int64_t o_groups = 0;
  std::int64_t window = 0;
  std::int64_t ratio = 0;
  bool overlap = false;          // each latent also sees the block before its own
  std::int64_t index_heads = 0;  // 0: all latents are attended
  std::int64_t index_dim = 0;
  std::int64_t index_top_k = 0;  // latents
  bool operator==(const CompressedDims&) const = default;
};

// Linear attention with a decay per head and a gated, normed output.
struct LightningDims {
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  bool operator==(const LightningDims&) const = default;
};

struct DeltaDims {
  std::int64_t key_heads = 0;
  std::int64_t value_heads = 0;
  std::int64_t key_dim = 0;  // of one head
  std::int64_t value_dim = 0;
  std::int64_t conv = 0;  // taps
  bool operator==(const DeltaDims&) const = default;
};

struct MambaDims {
  std::int64_t inner = 0;
  std::int64_t state = 0;  // per channel
  std::int64_t conv = 0;
  std::int64_t dt_rank = 0;
  bool operator==(const MambaDims&) const = default;
};

struct Mamba2Dims {
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t groups = 0;
  std::int64_t state = 0;
  std::int64_t conv = 0;
  bool operator==(const Mamba2Dims&) const = default;
};

using MixerDims = std::variant<NoMixer, AttentionDims, LatentDims, CompressedDims, LightningDims,
                               DeltaDims, MambaDims, Mamba2Dims>;

struct FfnDims {
  std::int64_t dense_hidden = 0;
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::int64_t expert_hidden = 0;
  std::int64_t shared_hidden = 0;  // of all shared experts together
  std::int64_t matrices = 3;
  bool shared_gate = false;
  bool router_bias = false;
  bool expert_bias = false;
  bool dense_bias = false;
  bool operator==(const FfnDims&) const = default;
};

struct LayerDims {
  MixerDims mixer;
  FfnDims ffn;
  bool operator==(const LayerDims&) const = default;
};

struct ModelDims {
  std::string name;
  std::string family;
  std::int64_t vocab = 0;
  std::int64_t d = 0;
  std::int64_t max_positions = 0;
  bool tied_embeddings = false;
  bool head_bias = false;
  bool norm_bias = false;             // LayerNorm with a shift
  std::int64_t norms_per_part = 1;    // of a mixer or an FFN: before it, or before and after
  std::int64_t residual_streams = 0;  // hyper-connections (arXiv 2409.19606); 0: one, plain
  std::int64_t relative_buckets = 0;  // T5's learned distances, one table for all layers
  std::vector<LayerDims> kinds;
  std::vector<std::int32_t> layers;
  Precision stored;
  std::vector<std::string> not_counted;

  // Appends a layer, as one more of a kind that is there or as the first of its kind.
  void add_layer(const LayerDims& layer);
};

// InvalidSpec, naming `file`, where dimensions contradict each other or multiply beyond 2e18.
Result<ModelShape> build_shape(const ModelDims& model, const std::string& file);

}  // namespace pentafold
