// Small random problems for the planner's tests: what any part of the search could get wrong, at a
// size that can be walked plainly.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "base/random.h"
#include "planner/problem.h"
#include "spec/model.h"

namespace pentafold {

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : seed_(seed) {}
  std::int64_t of(std::initializer_list<std::int64_t> choices) {
    return *(choices.begin() +
             static_cast<std::ptrdiff_t>(mix64(seed_ * 1000 + counter_++) % choices.size()));
  }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

inline ModelShape draw_model(Draw& draw) {
  ModelSpec spec;
  spec.name = "drawn";
  spec.d = draw.of({256, 1024, 4096});
  spec.heads = draw.of({4, 8, 12});
  spec.kv_heads = spec.heads / draw.of({1, 2, 4});
  spec.head_dim = 64;
  spec.vocab = 32000;
  spec.experts = draw.of({0, 4, 6, 8});
  spec.top_k = spec.experts > 0 ? draw.of({1, 2}) : 0;
  spec.expert_hidden = draw.of({768, 4096});
  spec.dense_hidden = draw.of({1536, 8192});
  spec.shared_hidden = spec.experts > 0 ? draw.of({0, 768}) : 0;
  spec.layers.assign(static_cast<std::size_t>(draw.of({2, 3, 5})), LayerSpec{spec.experts > 0, 0});
  if (draw.of({0, 1}) == 1) spec.layers.front().moe = false;
  return shape_of(spec);
}

inline Problem draw_problem(std::uint64_t seed) {
  Draw draw(seed);
  Problem problem;
  problem.model = draw_model(draw);
  problem.cluster.gpu.name = "drawn";
  problem.cluster.gpu.memory_bytes = static_cast<double>(draw.of({3, 6, 24})) * 1e9;
  problem.cluster.gpu.memory_bytes_per_s = static_cast<double>(draw.of({500, 3000})) * 1e9;
  problem.cluster.gpu.bf16_flops = static_cast<double>(draw.of({50, 900})) * 1e12;
  problem.cluster.gpu.dollars_per_hour = 2;
  problem.cluster.gpus_per_node = draw.of({2, 4});
  problem.cluster.gpus = draw.of({0, 1, 2, 4, 6});
  problem.max_gpus = 4;
  problem.cluster.links = {{"inner", problem.cluster.gpus_per_node, 100e9, 3e-6},
                           {"outer", kEveryDevice, 10e9, 8e-6}};
  problem.workload.isl = draw.of({100, 1000, 3000});
  problem.workload.osl = draw.of({1, 2, 200});
  problem.workload.skew = draw.of({0, 0, 1}) == 1 ? 0.8 : 0;
  const std::int64_t load = draw.of({0, 0, 1, 2});
  if (load == 1) problem.workload.batch = draw.of({3, 16});
  if (load == 2) problem.workload.rate_per_s = static_cast<double>(draw.of({1, 20}));
  Targets& targets = problem.targets;
  if (draw.of({0, 1}) == 1) targets.ttft_s = static_cast<double>(draw.of({5, 50, 500})) * 1e-3;
  if (draw.of({0, 1}) == 1) targets.tpot_s = static_cast<double>(draw.of({1, 4, 20})) * 1e-3;
  if (draw.of({0, 0, 1}) == 1) targets.tokens_per_s_per_gpu = 500;
  targets.objective = std::array{
      Objective::TokensPerSecondPerGpu, Objective::Gpus, Objective::Cost, Objective::Ttft,
      Objective::Tpot}[static_cast<std::size_t>(draw.of({0, 0, 1, 2, 3, 4}))];
  problem.precisions = {problem.model.stored};
  problem.disaggregated = false;
  return problem;
}

}  // namespace pentafold
