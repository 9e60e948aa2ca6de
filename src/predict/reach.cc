#include "predict/reach.h"

#include <algorithm>

#include "predict/step_cost.h"

namespace pentafold {
namespace {

struct Rates {
  double flops = 0;
  double bytes_per_s = 0;  // of weights in the plan's own count of bytes
};

Rates product_rates(const Operators& operators, const GpuSpec& gpu, Op base, NumberFormat format,
                    KernelFormat kernel) {
  const Op op = with_format(base, kernel);
  // Kernels and plans may count the bytes of scales differently.
  const double bytes = std::max(1.0, bytes_per_value(format) / weight_bytes(kernel));
  return {peak_flops(gpu, kernel) * operators.most_of_peak(op),
          gpu.memory_bytes_per_s * operators.most_of_bandwidth(op) * bytes};
}

}  // namespace

Reach reach_of(const Operators& operators, const GpuSpec& gpu, const EngineProfile& engine,
               const ModelShape& model, const Precision& precision) {
  const auto rates = [&](Op base, NumberFormat format, double engine_factor) {
    const KernelFormat kernel = kernels_for(model, gpu, format);
    const double factor = engine_factor * format_factor(engine, kernel);
    const Rates alone = product_rates(operators, gpu, base, format, kernel);
    return Rates{alone.flops / factor, alone.bytes_per_s / factor};
  };
  const Rates linear = rates(Op::Gemm, precision.linear, engine.weights);
  const Rates other = rates(Op::Gemm, precision.other, engine.weights);
  const Rates experts = rates(Op::Experts, precision.experts, engine.experts);
  Reach out;
  out.linear_flops = linear.flops;
  out.other_flops = other.flops;
  out.weight_bytes_per_s = std::max(linear.bytes_per_s, other.bytes_per_s);
  out.expert_flops = experts.flops;
  out.expert_bytes_per_s = experts.bytes_per_s;
  const double prompts =
      std::max(operators.most_of_peak(Op::Prefill), operators.most_of_peak(Op::MlaPrefill));
  out.attention_flops = peak_flops(gpu, KernelFormat::Bf16) * prompts / engine.attention;
  double cache = 0;
  for (const Op op : {Op::Decode, Op::DecodeFp8, Op::MlaDecode, Op::MlaDecodeFp8}) {
    cache = std::max(cache, operators.most_of_bandwidth(op));
  }
  out.kv_bytes_per_s = gpu.memory_bytes_per_s * cache / engine.attention;
  return out;
}

}  // namespace pentafold
