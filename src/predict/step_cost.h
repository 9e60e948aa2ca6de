// step_cost: seconds of the parts that every step of a worker is made of.
//
// A rank's time in a layer has two parts that depend on different degrees, which is what makes a
// whole lattice cheap to walk: the tensor part (projections, attention, dense and shared MLPs, the
// tensor group's collectives) on sp, tp and the rows of a dp group; the expert part (the rows' way
// to the experts and back, experts) on ep, etp and the rows of a stage. Each operation's seconds
// come from the device's calibrated operators (predict/operators.h), fixed costs and the way of
// exchanging rows from the engine's profile. Every second is booked under what binds it.
// Source: the roofline (Williams et al. 2009); latent attention in decode works on the compressed
// cache (DeepSeek-V2). Cost: about 300 ns a part. Held by predict/step_cost_test.cc and
// predict/monotone_test.cc (no better device or link makes any part slower).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "plan/worker.h"
#include "predict/engine_profile.h"
#include "predict/expert_load.h"
#include "predict/operators.h"
#include "predict/step_load.h"
#include "spec/cluster.h"
#include "spec/model_shape.h"
#include "spec/workload.h"

namespace pentafold {

enum class Bound { Compute, Hbm, Kv, Link, Latency, Fixed, Bubble };
inline constexpr std::size_t kBounds = 7;
inline constexpr std::size_t kProvenances = 5;
const char* to_string(Bound bound);  // "HBM (weights)"

struct Cost {
  double seconds = 0;
  double error_s = 0;                // half-width of the 80 % interval if all errors go one way
  std::array<double, kBounds> by{};  // sums to seconds
  std::array<double, kProvenances> from{};  // seconds of operators, by where their numbers are from

  void add(Bound bound, double s) {
    seconds += s;
    by[static_cast<std::size_t>(bound)] += s;
  }
  // An operator's time, under what binds it; `reading` is what it reads when memory does.
  void add(const OpTime& time, Bound reading, double factor);
  // A collective's: as much of it as messages need to arrive at all is latency, the rest the
  // link's.
  void add_collective(const OpTime& time, double latency_s, double factor);
  Cost& operator+=(const Cost& other);
  Cost operator*(double n) const;
};

class StepCost {
 public:
  // All must outlive it.
  StepCost(const ModelShape& model, const ClusterSpec& cluster, const EngineProfile& engine,
           const Workload& workload);
  // With other operators than the device's own.
  StepCost(const ModelShape& model, const ClusterSpec& cluster, const EngineProfile& engine,
           const Workload& workload, Operators operators);

  const ModelShape& model() const { return model_; }
  const ClusterSpec& cluster() const { return cluster_; }
  const EngineProfile& engine() const { return engine_; }
  const Operators& operators() const { return operators_; }
  const Workload& workload() const { return workload_; }

  // One layer of `kind` in any step, for the rows of one dp group; everything but the experts.
  Cost tensor(std::size_t kind, const Worker& worker, const GroupLoad& load) const;
  // Likewise of one decode microbatch of `rows` sequences at the workload's mean context.
  Cost tensor_decode(std::size_t kind, const Worker& worker, std::int64_t rows) const;
  // Likewise of whole prompts of isl tokens, `prompts` at once per dp group, cut into
  // microbatches of worker.chunk tokens.
  Cost tensor_prefill(std::size_t kind, const Worker& worker, std::int64_t prompts) const;
  // The experts of one layer, and the rows' way there and back, for a microbatch of `rows` rows per
  // dp group. `peak_share` from ExpertLoad of the kind.
  Cost experts(std::size_t kind, const Worker& worker, std::int64_t rows, double peak_share) const;
  // Likewise for `rows` rows of all dp groups together, the fullest of which has `group_rows`.
  Cost experts_of(std::size_t kind, const Worker& worker, double rows, double group_rows,
                  double peak_share) const;
  Cost experts_prefill(std::size_t kind, const Worker& worker, std::int64_t prompts,
                       double peak_share) const;
  // Once per microbatch: hand-over to the next stage, embedding, logits of `sampled` rows.
  Cost hand_over(const Worker& worker, std::int64_t rows) const;
  Cost logits(const Worker& worker, std::int64_t sampled) const;
  // What sequence parallelism adds to a layer of a prefill microbatch: `rows` rows of each rank
  // trade sequence for heads and back. Part of tensor_prefill.
  Cost sequence_exchange(const LayerShape& layer, const Worker& worker, std::int64_t rows) const;
  // Once per step; `prompts`: it computes some.
  Cost fixed(std::int64_t requests, bool prompts) const;

  // 1 for a layer without experts.
  double peak_share(std::size_t kind, const Worker& worker) const;
  // Ranks of a collective that spans `span` consecutive devices, by the links it meets.
  CommGroup group(std::int64_t ranks, std::int64_t span) const;
  // Of messages along a tree over its links.
  double latency(const CommGroup& group) const;

 private:
  // Parameters of one layer of a kind, by how they split.
  struct PartSums {
    double tensor = 0;
    double kv = 0;
    double none = 0;
  };
  struct KindSums {
    PartSums attention, dense, shared, router;
    double expert = 0;   // of one expert
    double kernels = 1;  // of a layer, over those of a plain one
  };
  // Query rows of prompts, the pairs they make, and what they read of the cache.
  struct PromptWork {
    double rows = 0;
    double pairs = 0;   // that attend
    double kept = 0;    // that an indexer looks at
    double cached = 0;  // tokens read of earlier pieces
  };
  void add_gemm(Cost& cost, double rows, double params, NumberFormat format) const;
  void add_weights(Cost& cost, std::size_t kind, const Worker& worker, std::int64_t tensor,
                   double rows) const;
  void add_collectives(Cost& cost, std::size_t kind, std::int64_t tensor, std::int64_t span,
                       double rows) const;
  void add_decode_attention(Cost& cost, const LayerShape& layer, const Worker& worker,
                            double sequences, double context) const;
  void add_prompt_attention(Cost& cost, const LayerShape& layer, const Worker& worker,
                            const PromptWork& work, double times) const;
  static PromptWork prompt_work(const MixerShape& mixer, double start, double tokens);
  void add_exchange(Cost& cost, std::size_t kind, const Worker& worker, double rows,
                    double group_rows, double peak_share) const;

  const ModelShape& model_;
  const ClusterSpec& cluster_;
  const EngineProfile& engine_;
  const Workload& workload_;
  Operators operators_;
  std::vector<KindSums> sums_;    // by kind
  std::vector<ExpertLoad> load_;  // by kind; of one expert where there is none
};

// Activations travel as bf16; rows go to low-precision experts in their precision.
inline constexpr double kRowBytes = 2;
// The kernels that take weights held as `format` on a device: MXFP4 runs on the same units as NVFP4
// where there are some, and is widened elsewhere.
KernelFormat kernels_for(const ModelShape& model, const GpuSpec& gpu, NumberFormat format);
// What the engine makes of products in a format, over those in any other.
double format_factor(const EngineProfile& engine, KernelFormat format);
// Whether weights below 16 bits have a scale for every block: so are they published.
bool block_scaled(const ModelShape& model);
double dispatch_row_bytes(NumberFormat experts, std::int64_t width);

// Microbatches of a prefill of `prompts` prompts of `isl` tokens: how many are full, and the rows
// of the last one (0: none).
struct ChunkCount {
  std::int64_t full = 0;
  std::int64_t rest = 0;
  std::int64_t count() const { return full + (rest > 0 ? 1 : 0); }
};
ChunkCount chunks_of(std::int64_t isl, std::int64_t prompts, std::int64_t chunk);
// Prompts that one pass of a worker takes per dp group: as many as fit into a chunk, at least one.
std::int64_t prompts_per_pass(std::int64_t isl, std::int64_t chunk);

}  // namespace pentafold
