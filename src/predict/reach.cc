#include "predict/reach.h"

#include <algorithm>

#include "predict/step_cost.h"

namespace pentafold {
namespace {

constexpr double kHuge = 1ULL << 24;
constexpr double kVast = 1ULL << 40;

double gemm_rate(const Operators& operators, KernelFormat format) {
  return 2 * kVast * kHuge * kHuge / operators.gemm({kVast, kHuge, kHuge, format}).seconds;
}

double gemm_stream(const Operators& operators, NumberFormat format, KernelFormat kernel) {
  return kHuge * kHuge * bytes_per_value(format) /
         operators.gemm({1, kHuge, kHuge, kernel}).seconds;
}

}  // namespace

Reach reach_of(const Operators& operators, const GpuSpec& gpu, const EngineProfile& engine,
               const ModelShape& model, const Precision& precision) {
  const auto kernel = [&](NumberFormat format) { return kernels_for(model, gpu, format); };
  const bool latent = std::ranges::any_of(
      model.kinds, [](const LayerShape& kind) { return kind.mixer.kind == MixerKind::Latent; });
  Reach out;
  out.linear_flops = gemm_rate(operators, kernel(precision.linear)) / engine.weights;
  out.other_flops = gemm_rate(operators, kernel(precision.other)) / engine.weights;
  out.weight_bytes_per_s =
      std::max(gemm_stream(operators, precision.linear, kernel(precision.linear)),
               gemm_stream(operators, precision.other, kernel(precision.other))) /
      engine.weights;
  GroupedGemm experts{kVast, kHuge, kVast, 1, 0, kernel(precision.experts)};
  out.expert_flops = 2 * experts.rows * experts.experts * experts.params /
                     operators.grouped_gemm(experts).seconds / engine.experts;
  experts.rows = 1;
  out.expert_bytes_per_s = experts.experts * experts.params * bytes_per_value(precision.experts) /
                           operators.grouped_gemm(experts).seconds / engine.experts;
  const PrefillAttention prompt{kVast, kVast * kVast, 64, 256, 1, 0};
  const double prefill = latent ? std::min(operators.mla_prefill(prompt).seconds,
                                           operators.prefill_attention(prompt).seconds)
                                : operators.prefill_attention(prompt).seconds;
  out.attention_flops =
      prompt.pairs * 4 * prompt.heads * prompt.head_dim / prefill / engine.attention;
  const DecodeAttention cache{kHuge, kHuge, 4096, 1, false};
  const double decode = latent ? std::min(operators.mla_decode(cache).seconds,
                                          operators.decode_attention(cache).seconds)
                               : operators.decode_attention(cache).seconds;
  out.kv_bytes_per_s =
      cache.sequences * cache.context * cache.token_bytes / decode / engine.attention;
  return out;
}

}  // namespace pentafold
