// Operators: seconds of one kernel or collective on one device, with where the number comes from.
//
// Each operator is an efficiency surface (predict/efficiency.h) fitted to published measurements
// and applied to the device's own datasheet peaks. specs/operators/<gpu>.yaml holds the fits, built
// into the program. A device without tables takes the nearest one's utilisations (same maker and
// generation first), marked Transferred; an operator without any table takes a plain roofline,
// marked Analytic: it never costs the whole plan, only a wider bar.
// All arguments are those of ONE rank: divide heads, columns and parameters by tp (or etp) before
// calling. Time never falls when an argument grows and never grows when a peak, a bandwidth or a
// latency gets better; for collectives an argument is that of the whole group, as said there.
// Source: ai-dynamo/aiconfigurator, alibaba/InferSim, microsoft/apex_plus, microsoft/vidur
// (docs/operators.md: versions, errors). Cost: 30-100 ns a call, no allocation, no lookup by name.
// Held by predict/operators_test.cc (monotone, floors, measured points) and efficiency_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "predict/efficiency.h"
#include "spec/cluster.h"
#include "spec/number_format.h"

namespace pentafold {

// Whose kernels. Any: the median of the others.
enum class KernelSource { Any, Vllm, Sglang, TensorRtLlm };
inline constexpr std::size_t kKernelSources = 4;
// "vllm", "sglang", "tensorrt-llm" or "trtllm"; Any for every other name.
KernelSource kernel_source_of(std::string_view engine);

enum class Provenance {
  Measured,      // this device, these kernels, within the measured range
  Interpolated,  // this device, but another engine's kernels or the nearest format
  Extrapolated,  // outside the measured range, where utilisation is held
  Transferred,   // another device's utilisation on this device's peaks
  Analytic,      // a roofline with assumed utilisation
};
const char* to_string(Provenance provenance);

struct OpTime {
  double seconds = 0;
  Provenance provenance = Provenance::Analytic;
  double log_error = 0;              // half-width of the 80 % interval: seconds x exp(-+log_error)
  Binding binding = Binding::Floor;  // Memory stands for the link in collectives
};

// How weights meet activations. Block: one scale per 128 x 128 weights (DeepSeek-V3), else one a
// tensor or channel. Int4, Mxfp4: weights widened to bf16; Nvfp4: fp4 units where there are some.
enum class KernelFormat { F32, Bf16, Fp8, Fp8Block, Int8, Int4, Mxfp4, Nvfp4 };
inline constexpr std::size_t kKernelFormats = 8;
KernelFormat kernel_format(NumberFormat format, bool block_scaled);

// rows x k times k x n.
struct Gemm {
  double rows = 0;  // activations of this rank
  double n = 0;     // columns on this rank
  double k = 0;     // depth on this rank
  KernelFormat format = KernelFormat::Bf16;
};

// The experts' products of one MoE layer with their activation: gate and up, then down.
struct GroupedGemm {
  double rows = 0;  // of one touched expert, on average; rows x experts is what this rank computes
  double experts = 0;  // different experts of this rank that at least one row picks
  double params = 0;   // of one expert on this rank, all its products together (3 x d x ffn / etp)
  double width = 0;    // d: values of a row on the way in and out
  KernelFormat format = KernelFormat::Bf16;
};

// Attention of new rows over what is before them, all sequences of a launch together.
struct PrefillAttention {
  double rows = 0;          // query rows
  double pairs = 0;         // query-key pairs that the mask leaves: n^2 / 2 for a whole prompt of n
  double pair_flops = 0;    // of one pair, all heads of this rank: heads x 2 x (qk_dim + v_dim)
  double row_bytes = 0;     // query, key, value and output of one row on this rank
  double cached_bytes = 0;  // KV of earlier chunks, on this rank
};

// One new row for each sequence.
struct DecodeAttention {
  double sequences = 0;
  double context = 0;      // cached tokens that one sequence attends to, on average
  double token_bytes = 0;  // KV of one cached token on this rank
  double pair_flops = 0;   // of one pair, all heads of this rank
};

// Who takes part in a collective. The first level of the cluster's links holds `inside` of the
// ranks together, level `outer` holds all.
struct CommGroup {
  double ranks = 1;
  double inside = 1;  // ranks: all on the innermost level
  std::size_t outer = 0;
};

// Rows to the ranks of their experts and back.
struct ExpertExchange {
  double rows = 0;             // tokens of each rank
  double width = 0;            // values of a row
  double bytes_per_value = 1;  // 1 + scales for fp8 dispatch, 2 for bf16
  double topk = 1;
};

class Operators {
 public:
  // `links` as in ClusterSpec: innermost first, at least one unless collectives are never asked
  // for.
  Operators(const GpuSpec& gpu, const std::vector<LinkLevel>& links,
            KernelSource kernels = KernelSource::Any);

  const std::string& tables() const { return tables_; }  // GPU whose compute tables are used

  OpTime gemm(const Gemm& shape) const;
  OpTime grouped_gemm(const GroupedGemm& shape) const;
  OpTime prefill_attention(const PrefillAttention& shape) const;
  OpTime decode_attention(const DecodeAttention& shape) const;
  // Latent attention: expanded in prefill, on the compressed cache in decode.
  OpTime mla_prefill(const PrefillAttention& shape) const;
  OpTime mla_decode(const DecodeAttention& shape) const;
  // Norms, activations, quantization: bytes read and written.
  OpTime elementwise(double bytes) const;

  // `bytes` of the whole message on each rank. The faster of a one-node kernel (custom, one shot)
  // and NCCL, by what the engine has.
  OpTime all_reduce(const CommGroup& group, double bytes) const;
  OpTime all_gather(const CommGroup& group, double bytes) const;      // of the gathered result
  OpTime reduce_scatter(const CommGroup& group, double bytes) const;  // before scattering
  // `bytes` that a rank holds for all ranks, itself included: (ranks - 1) / ranks of them travel.
  OpTime all_to_all(const CommGroup& group, double bytes) const;
  OpTime send(std::size_t level, double bytes) const;
  // DeepEP: normal for prefill, low latency for decode.
  OpTime dispatch(const CommGroup& group, const ExpertExchange& exchange) const;
  OpTime combine(const CommGroup& group, const ExpertExchange& exchange) const;
  OpTime dispatch_low_latency(const CommGroup& group, const ExpertExchange& exchange) const;
  OpTime combine_low_latency(const CommGroup& group, const ExpertExchange& exchange) const;

 private:
  enum class Op : std::uint8_t {
    Gemm = 0,  // by format
    Grouped = kKernelFormats,
    Prefill = 2 * kKernelFormats,
    Decode,
    MlaPrefill,
    MlaDecode,
    Elementwise,
    CustomAllReduce,
    AllReduce,
    AllGather,
    ReduceScatter,
    AllToAll,
    Send,
    Dispatch,
    Combine,
    DispatchLowLatency,
    CombineLowLatency,
    Count,
  };
  static constexpr std::size_t kOps = static_cast<std::size_t>(Op::Count);

  struct Entry {
    Surface surface;
    Provenance provenance = Provenance::Analytic;
    double reference_latency_s = 0;  // of the link that a collective was measured on
  };

  std::array<Entry, kOps> entries_;
  std::array<double, kKernelFormats> log_peak_{};  // log2 of flops per second
  double log_bandwidth_ = 0;
  std::vector<LinkLevel> links_;
  std::string tables_;
};

}  // namespace pentafold
