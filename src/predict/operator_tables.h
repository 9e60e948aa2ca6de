// operator_tables: the fitted surfaces of specs/operators/<gpu>.txt.
//
// A line is a key and what it holds; "#" starts a comment:
//   gpu NAME; link_latency_us X     the device, and the link its collectives ran on
//   surface OPERATOR KERNELS        what follows belongs to it, until the next
//   points N; error E; blend P; stream S; from X Y Z; to X Y Z
//   floor FIRST STEP VALUES...      log2 seconds over axis 0, knots FIRST, FIRST + STEP ...
//   compute|memory AXIS FIRST STEP VALUES...
// Not YAML: reading thousands of numbers as YAML would take longer than planning. A surface that
// could let time fall with an argument, or lie below the roofline, is refused: slopes are bounded
// by operator and axis (limits_of in the .cc).
// Source: scripts/fit_operators.py writes them. Cost: a few milliseconds a process.
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

Result<OperatorTables> parse_operator_tables(std::string_view text, const std::string& file);

// The catalog's, sorted by name.
std::span<const OperatorTables> catalog_operator_tables();

}  // namespace pentafold
