#include "predict/reach.h"

#include <gtest/gtest.h>

#include <cmath>

#include "spec/load_shape.h"
#include "support/planning_cases.h"

namespace pentafold {
namespace {

using testing::Draw;

// No shape, however drawn, gets more out of a device than its reach.
TEST(Reach, NoRandomShapeBeatsIt) {
  const ModelShape model = load_shape("mixtral-8x7b").value().model;
  const Precision precision;
  for (const GpuSpec& gpu : catalog_gpus()) {
    const EngineProfile engine;
    const Operators operators(gpu, gpu.links);
    const Reach reach = reach_of(operators, gpu, engine, model, precision);
    Draw draw(gpu.memory_bytes > 0 ? static_cast<std::uint64_t>(gpu.memory_bytes) : 1);
    for (int i = 0; i < 200; ++i) {
      const double rows = std::exp2(draw.uniform() * 15);
      const double n = std::exp2(6 + draw.uniform() * 10);
      const double k = std::exp2(6 + draw.uniform() * 10);
      const double product = operators.gemm({rows, n, k, KernelFormat::Bf16}).seconds;
      EXPECT_LE(2 * rows * n * k / product, reach.linear_flops * (1 + 1e-9)) << gpu.name;
      EXPECT_LE(2 * n * k / product, reach.weight_bytes_per_s * (1 + 1e-9)) << gpu.name;
      const GroupedGemm experts{rows, 1 + draw.uniform() * 255, n * k, 4096, 0, KernelFormat::Bf16};
      const double grouped = operators.grouped_gemm(experts).seconds;
      const double params = experts.experts * experts.params;
      EXPECT_LE(2 * rows * params / grouped, reach.expert_flops * (1 + 1e-9)) << gpu.name;
      EXPECT_LE(2 * params / grouped, reach.expert_bytes_per_s * (1 + 1e-9)) << gpu.name;
      const DecodeAttention cache{rows, n, 1024, 2048, false};
      EXPECT_LE(rows * n * 1024 / operators.decode_attention(cache).seconds,
                reach.kv_bytes_per_s * (1 + 1e-9))
          << gpu.name;
    }
  }
}

}  // namespace
}  // namespace pentafold
