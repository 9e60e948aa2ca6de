// Capacity: the bytes that one device needs for its part of a worker, for any model and precision,
// and how many sequences fit beside the weights.
//
// plan/memory.h counts what the engine here stores, from its program; this counts from the model's
// weight groups, in the precision the plan chooses, for the device it is for: sums over groups of
// params / (ranks that share them). KV heads are repeated when tp exceeds them, a latent cache
// (MLA) never shrinks with tp. Activations: two residual copies and the widest intermediate of a
// microbatch; buffers: dispatched rows at the busiest rank, gathered rows, logits.
// Cost: O(kinds x groups) once per degrees, then O(1) per batch and chunk. Held by
// plan/capacity_test.cc (against plan/memory.h's weights and KV for the engine's families).
#pragma once

#include <cstdint>

#include "plan/worker.h"
#include "spec/model_shape.h"

namespace pentafold {

// What a driver, its libraries and captured graphs take before any tensor: about 0.5 GB for a CUDA
// context and as much again for communicators.
inline constexpr double kRuntimeReserveBytes = 1.5e9;

struct RankBytes {
  double weights = 0;
  double kv = 0;
  double activations = 0;
  double buffers = 0;
  double reserve = kRuntimeReserveBytes;
  double total() const { return weights + kv + activations + buffers + reserve; }
};

// KV heads that the fullest of `ranks` tensor ranks holds: whole groups, so more than kv_heads /
// ranks where that is no whole number.
std::int64_t kv_heads_held(const MixerShape& mixer, std::int64_t ranks);
// Experts that a rank of each expert group holds, redundant copies included.
std::int64_t expert_slots(std::int64_t experts, const Worker& worker);

// One layer of `kind` on one rank of a stage.
double layer_weight_bytes(const LayerShape& kind, const Worker& worker);
// Of one sequence of `tokens` in one layer on one rank, in whole blocks (plan/memory.h); window and
// state included.
double layer_kv_bytes(const LayerShape& kind, const Worker& worker, std::int64_t tokens);
// Embedding, head and final norm on one rank of the first and last stage.
double outer_weight_bytes(const ModelShape& model, const Worker& worker, bool first, bool last);

// On the fullest rank of `stage`; sequences of `tokens` each. `peak_share`: the busiest rank's part
// of the experts' rows over the even share (predict/expert_load.h), 1 when even.
RankBytes stage_bytes(const ModelShape& model, const Worker& worker, std::int64_t stage,
                      std::int64_t tokens, double peak_share);
// Of all stages the largest total.
RankBytes worker_bytes(const ModelShape& model, const Worker& worker, std::int64_t tokens,
                       double peak_share);
// Activations and buffers alone, of a microbatch of `rows` tokens per dp group in which
// `sampled` rows get logits.
double activation_bytes(const ModelShape& model, const Worker& worker, std::int64_t rows);
double buffer_bytes(const ModelShape& model, const Worker& worker, std::int64_t rows,
                    std::int64_t sampled, double peak_share);

}  // namespace pentafold
