// operator_tables: the fitted surfaces of specs/operators/<gpu>.yaml.
//
// A file names its GPU, the latency of the link its collectives ran on, and one surface for each
// operator and kernel source. A surface that could let time fall with an argument, or lie below the
// roofline, is refused: slopes are bounded by operator and axis (kAxisLimits in the .cc).
// Source: scripts/fit_operators.py writes them. Cost: about a millisecond a file, once a process.
// Held by predict/operator_tables_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "predict/efficiency.h"

namespace pentafold {

// Whose kernels. Any: all sources pooled.
enum class KernelSource : std::uint8_t { Any, Vllm, Sglang, TensorRtLlm };
inline constexpr std::size_t kKernelSources = 4;

// How weights meet activations. Block: one scale per 128 x 128 weights (DeepSeek-V3), else one a
// tensor or channel. Int4, Mxfp4: weights widened to bf16; Nvfp4: fp4 units where there are some.
enum class KernelFormat : std::uint8_t { F32, Bf16, Fp8, Fp8Block, Int8, Int4, Mxfp4, Nvfp4 };
inline constexpr std::size_t kKernelFormats = 8;

// Products come once a format, in the order of KernelFormat.
enum class Op : std::uint8_t {
  Gemm = 0,
  Experts = kKernelFormats,
  Prefill = 2 * kKernelFormats,
  Decode,
  DecodeFp8,
  MlaPrefill,
  MlaDecode,
  MlaDecodeFp8,
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
inline constexpr std::size_t kOps = static_cast<std::size_t>(Op::Count);
constexpr std::size_t index_of(Op op) {
  return static_cast<std::size_t>(op);
}
constexpr Op with_format(Op op, KernelFormat format) {
  return static_cast<Op>(static_cast<std::size_t>(op) + static_cast<std::size_t>(format));
}
constexpr bool uses_links(Op op) {
  return op >= Op::CustomAllReduce;
}
std::string op_name(Op op);  // "gemm-fp8-block", "mla-decode"

struct FittedSurface {
  Op op = Op::Count;
  KernelSource kernels = KernelSource::Any;
  Surface surface;
};

struct OperatorTables {
  std::string gpu;            // as in specs/gpus.yaml
  double link_latency_s = 0;  // of the link that collectives ran on
  std::vector<FittedSurface> surfaces;

  // nullptr: none.
  const Surface* find(Op op, KernelSource kernels) const;
  bool has_sources(Op op) const;  // more than the pooled one
};

Result<OperatorTables> parse_operator_tables(const std::string& yaml_text, const std::string& file);

// The catalog's, sorted by name.
std::span<const OperatorTables> catalog_operator_tables();

}  // namespace pentafold
