// step_cost: seconds of the parts that every step of a worker is made of.
//
// A rank's time in a layer has two parts that depend on different degrees, which is what makes a
// whole lattice cheap to walk: the tensor part (projections, attention, dense and shared MLPs, the
// tensor group's collectives) on sp, tp and the rows of a dp group; the expert part (dispatch,
// experts, combine) on ep, etp and the rows of a stage. Each operation is a roofline
// max(flops / peak, bytes / bandwidth) with the efficiencies of CostConstants; a collective is
// bytes over links; a layer has a fixed cost. Every second is booked under what binds it.
// Source: the roofline (Williams et al. 2009); latent attention in decode works on the compressed
// cache (DeepSeek-V2). Cost: about 100 ns a part. Held by predict/step_cost_test.cc and
// predict/monotone_test.cc (no better device or link makes any part slower).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "plan/worker.h"
#include "predict/cost_constants.h"
#include "predict/expert_load.h"
#include "spec/cluster.h"
#include "spec/model_shape.h"
#include "spec/workload.h"

namespace pentafold {

enum class Bound { Compute, Hbm, Kv, Link, Latency, Fixed, Bubble };
inline constexpr std::size_t kBounds = 7;
const char* to_string(Bound bound);  // "HBM (weights)"

struct Cost {
  double seconds = 0;
  std::array<double, kBounds> by{};  // sums to seconds

  void add(Bound bound, double s) {
    seconds += s;
    by[static_cast<std::size_t>(bound)] += s;
  }
  // The slower of computing and reading, under its own name.
  void add_roofline(double compute, double read, Bound reading);
  Cost& operator+=(const Cost& other);
  Cost operator*(double n) const;
};

class StepCost {
 public:
  // All must outlive it.
  StepCost(const ModelShape& model, const ClusterSpec& cluster, const CostConstants& constants,
           const Workload& workload);

  const ModelShape& model() const { return model_; }
  const ClusterSpec& cluster() const { return cluster_; }
  const CostConstants& constants() const { return constants_; }
  const Workload& workload() const { return workload_; }

  // One layer of `kind` in one decode microbatch of `rows` sequences per dp group, at the mean
  // context of the workload. Reads sp, tp and precision of `worker`.
  Cost tensor_decode(std::size_t kind, const Worker& worker, std::int64_t rows) const;
  // One layer of `kind` over whole prompts of isl tokens, `prompts` at once per dp group, cut into
  // microbatches of worker.chunk tokens.
  Cost tensor_prefill(std::size_t kind, const Worker& worker, std::int64_t prompts) const;
  // Dispatch, experts, combine of one layer for a microbatch of `rows` rows per dp group.
  // `peak_share` from ExpertLoad of the kind.
  Cost experts(std::size_t kind, const Worker& worker, std::int64_t rows, double peak_share) const;
  Cost experts_prefill(std::size_t kind, const Worker& worker, std::int64_t prompts,
                       double peak_share) const;
  // Once per microbatch: hand-over to the next stage, embedding, logits of `sampled` rows.
  Cost hand_over(const Worker& worker, std::int64_t rows) const;
  Cost logits(const Worker& worker, std::int64_t sampled) const;
  // What sequence parallelism adds to a layer of a prefill microbatch: `rows` rows of each rank
  // trade sequence for heads and back. Part of tensor_prefill.
  Cost sequence_exchange(const LayerShape& layer, const Worker& worker, std::int64_t rows) const;
  // Once per step.
  Cost fixed(std::int64_t requests) const;

  // 1 for a layer without experts.
  double peak_share(std::size_t kind, const Worker& worker) const;

 private:
  // Parameters of one layer of a kind, by how they split.
  struct PartSums {
    double tensor = 0;
    double kv = 0;
    double none = 0;
  };
  struct KindSums {
    PartSums attention, dense, shared, router;
    double expert = 0;  // of one expert
  };
  void add_gemm(Cost& cost, double rows, double params, NumberFormat format,
                double efficiency) const;
  void add_tensor_weights(Cost& cost, std::size_t kind, const Worker& worker, std::int64_t tensor,
                          std::int64_t rows) const;
  void add_tensor_collectives(Cost& cost, std::size_t kind, std::int64_t tensor, std::int64_t span,
                              std::int64_t rows) const;
  Cost prefill_attention(const LayerShape& layer, const Worker& worker, std::int64_t prompts) const;

  const ModelShape& model_;
  const ClusterSpec& cluster_;
  const CostConstants& constants_;
  const Workload& workload_;
  std::vector<KindSums> sums_;    // by kind
  std::vector<ExpertLoad> load_;  // by kind; of one expert where there is none
};

// Activations travel as bf16; rows go to low-precision experts in their precision.
inline constexpr double kRowBytes = 2;
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
