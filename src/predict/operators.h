// Operators: seconds of one kernel or collective on one device, with where the number comes from.
//
// Each operator is an efficiency surface (predict/efficiency.h) fitted to published measurements
// and applied to this device's datasheet peaks. A device without tables of an operator takes the
// nearest device's utilisation (by the ratio of peaks; by links for collectives), marked
// Transferred; an operator that no table has takes a plain roofline, marked Analytic: it never
// costs the whole plan, only a wider bar. All arguments are those of ONE rank: divide heads,
// columns and parameters by tp (or etp) before calling. For collectives they are as said there.
// Time never falls when an argument grows, and never grows when a peak, a bandwidth or a latency
// gets better. Source: ai-dynamo/aiconfigurator, microsoft/apex_plus (docs/operators.md: versions,
// errors). Cost: under 100 ns a call, no allocation, no lookup by name. Held by
// predict/operators_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "predict/operator_choice.h"
#include "predict/operator_tables.h"
#include "spec/cluster.h"
#include "spec/number_format.h"

namespace pentafold {

// "vllm", "sglang", "tensorrt-llm" or "trtllm"; Any for every other name.
KernelSource kernel_source_of(std::string_view engine);
KernelFormat kernel_format(NumberFormat format, bool block_scaled);
// Bytes that kernels read for one weight, scales included.
double weight_bytes(KernelFormat format);
// Of the units that take weights held so.
double peak_flops(const GpuSpec& gpu, KernelFormat format);

struct OpTime {
  double seconds = 0;
  Provenance provenance = Provenance::Measured;
  double log_error = 0;              // 80 % of the time within seconds x exp(-+log_error)
  Binding binding = Binding::Floor;  // Memory stands for the link in collectives
};

// rows x k times k x n.
struct Gemm {
  double rows = 0;
  double n = 0;  // columns on this rank
  double k = 0;  // depth on this rank
  KernelFormat format = KernelFormat::Bf16;
};

// The experts of one MoE layer: all their products, activation and weighted sum.
struct GroupedGemm {
  double rows = 0;  // of one touched expert on average: rows x experts is what this rank computes
  double experts = 0;  // different experts of this rank that any row picks
  double params = 0;   // of one expert on this rank, all its products (3 x d x hidden / etp)
  double width = 0;    // values of a row on the way in and out (d)
  // (row, expert) pairs that the kernels walk over, those of other ranks' experts included: tokens
  // x top_k where all ranks see all tokens. 0, or less than rows x experts: rows x experts.
  double pairs = 0;
  KernelFormat format = KernelFormat::Bf16;
};

// Attention of new rows over themselves and what is before them, all sequences of a launch.
struct PrefillAttention {
  double rows = 0;          // query rows
  double pairs = 0;         // query-key pairs that the mask leaves: n (n + 1) / 2 for a prompt of n
  double heads = 0;         // query heads on this rank
  double head_dim = 0;      // mean of the key's and the value's
  double row_bytes = 0;     // query, key, value and output of one row on this rank
  double cached_bytes = 0;  // KV of earlier chunks read, on this rank
};

// One new row for each sequence.
struct DecodeAttention {
  double sequences = 0;
  double context = 0;      // cached tokens that one sequence attends to, on average
  double token_bytes = 0;  // KV of one cached token on this rank
  double pair_flops = 0;   // of one (query, key) pair, all heads on this rank
  bool fp8_cache = false;
};

// Who takes part. The innermost level of links holds `inside` of the ranks together; level `outer`
// holds all (not used when inside == ranks).
struct CommGroup {
  double ranks = 1;
  double inside = 1;
  std::size_t outer = 0;
};

// Rows to the ranks of their experts, or back.
struct ExpertExchange {
  double rows = 0;             // tokens of each rank
  double width = 0;            // values of a row
  double bytes_per_value = 2;  // bf16; 1 + 4 / 128 for fp8 with a scale for 128 values
  double topk = 1;
};

class Operators {
 public:
  // `links` as in ClusterSpec, innermost first; may be empty where collectives are never asked for.
  Operators(const GpuSpec& gpu, const std::vector<LinkLevel>& links,
            KernelSource kernels = KernelSource::Any);
  // From other tables than the catalog's.
  Operators(const GpuSpec& gpu, const std::vector<LinkLevel>& links, KernelSource kernels,
            std::span<const OperatorTables> tables);

  // The GPU whose measurements an operator comes from; empty: analytic.
  const std::string& source(Op op) const { return entries_[index_of(op)].gpu; }

  // The most of its peak, and of its bandwidth, that an operator reaches at any shape; at most 1.
  double most_of_peak(Op op) const;
  double most_of_bandwidth(Op op) const;

  OpTime gemm(const Gemm& shape) const;
  OpTime grouped_gemm(const GroupedGemm& shape) const;
  OpTime prefill_attention(const PrefillAttention& shape) const;
  OpTime decode_attention(const DecodeAttention& shape) const;
  // Latent attention: expanded to heads in prefill, on the compressed cache in decode.
  OpTime mla_prefill(const PrefillAttention& shape) const;
  OpTime mla_decode(const DecodeAttention& shape) const;
  // Norms, activations, quantization, each a kernel of its own: bytes read and written.
  OpTime elementwise(double bytes) const;

  // `bytes`: of the whole message on each rank. On fast links within one domain the faster of NCCL
  // and the engine's own kernel.
  OpTime all_reduce(const CommGroup& group, double bytes) const;
  OpTime all_gather(const CommGroup& group, double bytes) const;      // bytes: gathered
  OpTime reduce_scatter(const CommGroup& group, double bytes) const;  // bytes: before scattering
  // bytes: what a rank holds for all, itself included; (ranks - 1) / ranks of them travel.
  OpTime all_to_all(const CommGroup& group, double bytes) const;
  OpTime send(std::size_t level, double bytes) const;
  // DeepEP: a row travels to another node once and to another rank once; in low-latency mode
  // (decode) once for each expert.
  OpTime dispatch(const CommGroup& group, const ExpertExchange& exchange) const;
  OpTime combine(const CommGroup& group, const ExpertExchange& exchange) const;
  OpTime dispatch_low_latency(const CommGroup& group, const ExpertExchange& exchange) const;
  OpTime combine_low_latency(const CommGroup& group, const ExpertExchange& exchange) const;

 private:
  OpTime evaluate(Op op, const Surface::Load& load) const;
  // This device's innermost link latency over that of the device measured.
  double floor_scale(Op op) const;
  OpTime prefill(Op op, const PrefillAttention& shape) const;
  OpTime decode(Op op, const DecodeAttention& shape) const;
  OpTime collective(Op op, const CommGroup& group, double bytes) const;
  OpTime inside(Op op, double ranks, double bytes) const;
  OpTime exchange(Op op, const CommGroup& group, const ExpertExchange& exchange) const;

  std::array<OperatorChoice, kOps> entries_;
  std::array<double, kKernelFormats> log_peak_{};  // log2 of flops per second
  double log_bandwidth_ = 0;                       // log2 of bytes per second
  std::vector<LinkLevel> links_;
};

}  // namespace pentafold
