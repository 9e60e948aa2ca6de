#include "predict/operator_choice.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

namespace pentafold {
namespace {

// What another device's utilisation may be off by, in ln, 80 % of the time: measured between the
// devices that have tables (docs/operators.md).
constexpr double kTransferError = 0.45;
// Workstation parts (no link of this rate, GDDR) and accelerators are this many doublings apart.
constexpr double kScaleUpLink = 100e9;
constexpr double kOtherKind = 4;
// Beyond this many doublings another format of the same device says more: H100's fp8 products are
// 57 % off on H20, which computes 7 times less at the same bandwidth.
constexpr double kNearDoublings = 2;
// Within this the engine's own kernels on the other device say more than other engines' on this
// one: H100 and H200 differ in memory only.
constexpr double kKinDoublings = 1;
// No table: a roofline at 60 % of the peak and 70 % of the bandwidth behind a 5 us start.
constexpr double kAnalyticError = 0.6;
constexpr double kAnalyticFloorS = 5e-6;
constexpr double kAnalyticCompute = 0.6;
constexpr double kAnalyticMemory = 0.7;

// The formats whose surfaces stand in for one without, nearest first.
std::array<KernelFormat, 3> nearest_formats(KernelFormat format) {
  using enum KernelFormat;
  switch (format) {
    case Fp8:
    case Int8:
      return {Fp8, Fp8Block, Bf16};
    case Fp8Block:
    case Nvfp4:
      return {Fp8Block, Fp8, Bf16};
    case Int4:
    case Mxfp4:
      return {Mxfp4, Int4, Bf16};
    default:
      return {Bf16, Fp8, Fp8Block};
  }
}

// Operators that may stand in for `op`, itself first.
std::vector<Op> stand_ins(Op op) {
  if (op < Op::Prefill) {
    const Op base = op < Op::Experts ? Op::Gemm : Op::Experts;
    const auto format = static_cast<KernelFormat>(index_of(op) - index_of(base));
    std::vector<Op> out = {op};
    for (const KernelFormat near : nearest_formats(format)) out.push_back(with_format(base, near));
    return out;
  }
  if (op == Op::DecodeFp8) return {op, Op::Decode};
  if (op == Op::MlaDecodeFp8) return {op, Op::MlaDecode};
  return {op};
}

double ratio(double a, double b) {
  return a > 0 && b > 0 ? std::abs(std::log2(a / b)) : 0;
}

// How unlike two devices are, in doublings of what an operator leans on.
double distance(Op op, const GpuSpec& a, const GpuSpec& b) {
  if (a.name == b.name) return -1;
  if (uses_links(op)) {
    if (a.links.empty() || b.links.empty()) return ratio(a.bf16_flops, b.bf16_flops);
    return ratio(a.links.front().bytes_per_s, b.links.front().bytes_per_s) +
           ratio(a.links.front().latency_s, b.links.front().latency_s);
  }
  const auto scales_up = [](const GpuSpec& gpu) {
    return !gpu.links.empty() && gpu.links.front().bytes_per_s >= kScaleUpLink;
  };
  return ratio(a.bf16_flops, b.bf16_flops) + ratio(a.memory_bytes_per_s, b.memory_bytes_per_s) +
         (scales_up(a) == scales_up(b) ? 0 : kOtherKind);
}

Surface analytic_surface() {
  const auto flat = [](double x) { return Curve(0, 1, std::array<double, 1>{std::log2(x)}); };
  Surface out;
  out.floor = flat(kAnalyticFloorS);
  out.compute[0] = flat(kAnalyticCompute);
  out.memory[0] = flat(kAnalyticMemory);
  out.log_error = kAnalyticError;
  return out;
}

const MeasuredDevice* nearest_with(Op op, KernelSource kernels, const GpuSpec& gpu,
                                   std::span<const MeasuredDevice> devices) {
  const MeasuredDevice* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const MeasuredDevice& device : devices) {
    if (device.tables->find(op, kernels) == nullptr) continue;
    const double far = distance(op, gpu, device.gpu);
    if (far < least) {
      least = far;
      best = &device;
    }
  }
  return best;
}

// Attention on these runs TensorRT-LLM's kernels in SGLang and vLLM too, by way of FlashInfer
// (SGLang's trtllm_mla and trtllm_mha backends are its defaults there).
constexpr std::array<std::string_view, 4> kBlackwell = {"b200-sxm", "b300-sxm", "gb200", "gb300"};
bool takes_attention_kernels(Op op) {
  return op == Op::Prefill || op == Op::Decode || op == Op::DecodeFp8 || op == Op::MlaPrefill ||
         op == Op::MlaDecode || op == Op::MlaDecodeFp8;
}

struct Wanted {
  KernelSource kernels = KernelSource::Any;
  const std::string& gpu;
};

OperatorChoice taken_from(const MeasuredDevice& device, Op op, Op candidate, const Wanted& wanted) {
  const Surface* own = device.tables->find(candidate, wanted.kernels);
  const Surface* any = device.tables->find(candidate, KernelSource::Any);
  OperatorChoice out{own != nullptr ? *own : *any, Provenance::Measured,
                     device.tables->link_latency_s, device.tables->gpu};
  double& error = out.surface.log_error;
  if (candidate != op || (own == nullptr && device.tables->has_sources(candidate))) {
    out.provenance = Provenance::Interpolated;
    error = combined_error(error, kForeignError);
  }
  if (out.gpu != wanted.gpu) {
    out.provenance = Provenance::Transferred;
    error = combined_error(error, kTransferError);
  }
  return out;
}

}  // namespace

const char* to_string(Provenance provenance) {
  switch (provenance) {
    case Provenance::Measured:
      return "measured";
    case Provenance::Interpolated:
      return "interpolated";
    case Provenance::Extrapolated:
      return "extrapolated";
    case Provenance::Transferred:
      return "transferred";
    case Provenance::Analytic:
      return "analytic";
  }
  return "?";
}

double combined_error(double a, double b) {
  return std::sqrt(a * a + b * b);
}

std::vector<MeasuredDevice> measured_devices(std::span<const OperatorTables> tables) {
  std::vector<MeasuredDevice> out;
  for (const OperatorTables& table : tables) {
    if (auto gpu = find_gpu(table.gpu)) out.push_back({&table, *std::move(gpu)});
  }
  return out;
}

OperatorChoice choose_operator(Op op, KernelSource kernels, const GpuSpec& gpu,
                               std::span<const MeasuredDevice> devices) {
  // TensorRT-LLM's table of NVFP4 experts is of its CUTLASS kernels. It serves with the ones that
  // vLLM takes from it by way of FlashInfer, so those stand for both.
  if (op == with_format(Op::Experts, KernelFormat::Nvfp4) && kernels == KernelSource::TensorRtLlm) {
    kernels = KernelSource::Vllm;
  }
  if (takes_attention_kernels(op) && std::ranges::find(kBlackwell, gpu.name) != kBlackwell.end()) {
    kernels = KernelSource::TensorRtLlm;
  }
  // A near format of this device before the same format of one that is far away.
  for (const double reach : {kNearDoublings, std::numeric_limits<double>::infinity()}) {
    for (const Op candidate : stand_ins(op)) {
      const MeasuredDevice* device = nearest_with(candidate, KernelSource::Any, gpu, devices);
      if (device == nullptr || distance(op, gpu, device->gpu) > reach) continue;
      const MeasuredDevice* same_kernels = nearest_with(candidate, kernels, gpu, devices);
      if (same_kernels != nullptr && device->tables->has_sources(candidate) &&
          distance(op, gpu, same_kernels->gpu) <= kKinDoublings) {
        device = same_kernels;
      }
      return taken_from(*device, op, candidate, {kernels, gpu.name});
    }
  }
  OperatorChoice out;
  out.surface = analytic_surface();
  return out;
}

}  // namespace pentafold
