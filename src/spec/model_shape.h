// ModelShape: what planning needs to know about any model, runnable here or not.
//
// ModelSpec (spec/model.h) holds what changes arithmetic and covers the families that the engine
// runs; ModelShape holds what changes bytes, operations and messages, and covers every published
// decoder: grouped and latent attention (MLA), sliding windows, sparse and linear attention, state
// space layers, shared experts, dense-first layers. A layer is a list of weight groups, each with
// the way it can be split, so that totals, active parameters and the bytes of any rank are sums
// over one list. Layers that are alike share a kind.
// Source: the models' public configuration files; MLA: DeepSeek-V2 (arXiv 2405.04434).
// Cost: a plain value; counts are O(kinds). Held by spec/model_shape_test.cc (every model of the
// catalog against its official counts) and, for the families the engine runs, against ModelSpec.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "spec/model.h"
#include "spec/number_format.h"

namespace pentafold {

// Which ranks of a stage hold how much of a weight.
enum class Split {
  Tensor,   // 1 / tp each
  KvHeads,  // 1 / min(tp, kv_heads) each: KV heads are repeated when tp exceeds them
  Vocab,    // 1 / tp each, on the first or last stage only
  Experts,  // 1 / (ep x etp) each
  None,     // all of it on every rank
};

enum class WeightPart { Embedding, Head, Attention, DenseMlp, SharedExpert, Expert, Router, Norm };
const char* to_string(WeightPart part);  // "expert"

struct WeightGroup {
  std::string name;         // "q_proj"
  std::int64_t params = 0;  // of one layer, all experts, every parameter once
  Split split = Split::None;
  WeightPart part = WeightPart::Norm;
  bool gemm = false;  // multiplies activations: two operations per parameter and token
};

enum class MixerKind { Attention, Latent, Linear, StateSpace, None };
const char* to_string(MixerKind kind);

// How a layer lets tokens see each other, in numbers.
struct MixerShape {
  MixerKind kind = MixerKind::Attention;
  std::int64_t heads = 0;     // a tensor degree must divide these
  std::int64_t kv_heads = 0;  // ways the cache can be split; 1 for Latent
  // Cached values per token, all KV heads; for Latent the compressed row, which every tensor rank
  // holds whole (an indexer's keys included).
  std::int64_t kv_values = 0;
  std::int64_t state_values = 0;  // per sequence whatever its length (Linear, StateSpace)
  NumberFormat state_format = NumberFormat::F32;  // of those: recurrences are carried in fp32
  std::int64_t window = 0;                        // keys seen and kept; 0: all
  std::int64_t selected = 0;      // keys attended out of those kept (sparse attention); 0: all
  double prefill_pair_flops = 0;  // per (query, key): scores and weighted sum, all heads
  double decode_pair_flops = 0;   // likewise; Latent attends in the compressed space
  double index_pair_flops = 0;    // of a sparse indexer, over all kept keys
  double token_flops = 0;         // per token beside the weights (Linear, StateSpace)
};

struct FfnShape {
  std::int64_t experts = 0;        // 0: a dense MLP, or none
  std::int64_t top_k = 0;          //
  std::int64_t expert_hidden = 0;  // width inside one expert
  std::int64_t dense_hidden = 0;   // of a dense MLP
  std::int64_t shared_hidden = 0;  // of all shared experts together
  std::int64_t matrices = 3;       // 3: gated; 2: not
};

struct LayerShape {
  std::vector<WeightGroup> weights;
  MixerShape mixer;
  FfnShape ffn;
};

// How the checkpoint is published, or how a plan means to hold it.
struct Precision {
  NumberFormat experts = NumberFormat::BF16;  // routed experts
  NumberFormat linear = NumberFormat::BF16;   // attention, dense and shared MLPs
  NumberFormat other = NumberFormat::BF16;    // embedding, head, router, norms
  NumberFormat kv = NumberFormat::BF16;
  NumberFormat of(WeightPart part) const;
  friend bool operator==(const Precision&, const Precision&) = default;
};
std::string to_string(const Precision& precision);  // "fp8", "mxfp4 experts, bf16", "bf16, kv fp8"

struct ModelShape {
  std::string name;
  std::string family;  // "qwen3_moe"
  std::int64_t vocab = 0;
  std::int64_t d = 0;  // width of the residual stream
  std::int64_t max_positions = 0;
  std::vector<LayerShape> kinds;
  std::vector<std::int32_t> layers;  // kind of each layer
  std::vector<WeightGroup> outer;    // embedding, head, final norm
  Precision stored;
  std::optional<double> declared_total_params;   // by the author; checked, never believed
  std::optional<double> declared_active_params;  // likewise
  std::vector<std::string> not_counted;          // "vision tower: not described by the config"

  std::int64_t num_layers() const { return static_cast<std::int64_t>(layers.size()); }
  const LayerShape& layer(std::int64_t i) const {
    return kinds[static_cast<std::size_t>(layers[static_cast<std::size_t>(i)])];
  }
  // Of the widest expert layer; 0 without experts.
  std::int64_t experts() const;
  std::int64_t top_k() const;
};

// For the families that the engine runs.
ModelShape shape_of(const ModelSpec& model);

ParamCounts count_params(const ModelShape& model);  // embeddings once if tied, as spec/model.h
double weight_bytes(const ModelShape& model, const Precision& precision);
// Cached bytes of one token over all layers, as if no window cut it off; and of a whole sequence of
// `tokens`, windows and states included (states in their own format, whatever `kv` is).
double kv_bytes_per_token(const ModelShape& model, NumberFormat kv);
double kv_bytes_of_sequence(const ModelShape& model, NumberFormat kv, std::int64_t tokens);

// Operations of one token through all weights it uses (two per active parameter that multiplies),
// and of its attention over `context` keys (token_flops included).
double weight_flops_per_token(const ModelShape& model);
double attention_flops(const ModelShape& model, std::int64_t context, bool prefill);

}  // namespace pentafold
