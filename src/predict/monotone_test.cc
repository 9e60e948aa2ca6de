// What must hold for any question: better devices are never slower, more work is never faster, and
// no prediction beats physics.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "predict/worker_cost.h"
#include "support/planning_cases.h"

namespace pentafold {
namespace {

using testing::planning_case;
using testing::PlanningCase;

constexpr std::uint64_t kCases = 400;
constexpr double kRounding = 1 + 1e-9;
constexpr Role kRoles[] = {Role::Both, Role::Prefill, Role::Decode};

WorkerPrediction predict(const PlanningCase& c, Role role) {
  const EngineProfile engine;
  return predict_worker(StepCost(c.model, c.cluster, engine, c.workload), c.worker, role);
}

struct Improvement {
  std::string what;
  std::function<void(ClusterSpec&)> apply;
};

std::vector<Improvement> improvements(const ClusterSpec& cluster) {
  std::vector<Improvement> out = {
      {"memory bandwidth", [](ClusterSpec& c) { c.gpu.memory_bytes_per_s *= 1.4; }},
      {"memory", [](ClusterSpec& c) { c.gpu.memory_bytes *= 2; }},
      {"bf16", [](ClusterSpec& c) { c.gpu.bf16_flops *= 1.7; }},
      {"f32", [](ClusterSpec& c) { c.gpu.f32_flops *= 1.7; }},
      {"fp8", [](ClusterSpec& c) { c.gpu.fp8_flops *= 1.7; }},
      {"int8", [](ClusterSpec& c) { c.gpu.int8_flops *= 1.7; }},
      {"fp4", [](ClusterSpec& c) { c.gpu.fp4_flops *= 1.7; }},
  };
  for (std::size_t i = 0; i < cluster.links.size(); ++i) {
    const std::string& name = cluster.links[i].name;
    out.push_back({name + " bandwidth", [i](ClusterSpec& c) { c.links[i].bytes_per_s *= 3; }});
    out.push_back({name + " latency", [i](ClusterSpec& c) { c.links[i].latency_s *= 0.3; }});
  }
  return out;
}

TEST(Monotone, NoBetterDeviceMakesAnythingWorse) {
  for (std::uint64_t seed = 0; seed < kCases; ++seed) {
    const PlanningCase before = planning_case(seed);
    const Role role = kRoles[seed % 3];
    const Rates was = predict(before, role).rates;
    for (const Improvement& improvement : improvements(before.cluster)) {
      SCOPED_TRACE(to_string(before) + ", " + to_string(role) + ": " + improvement.what);
      PlanningCase after = before;
      improvement.apply(after.cluster);
      const Rates is = predict(after, role).rates;
      EXPECT_LE(is.ttft_s, was.ttft_s * kRounding);
      EXPECT_LE(is.tpot_s, was.tpot_s * kRounding);
      EXPECT_LE(is.service_s, was.service_s * kRounding);
      EXPECT_GE(is.tokens_per_s * kRounding, was.tokens_per_s);
      EXPECT_GE(is.requests_per_s * kRounding, was.requests_per_s);
      EXPECT_GE(is.prefill_tokens_per_s * kRounding, was.prefill_tokens_per_s);
    }
  }
}

// The search stops at the first batch that is too slow.
TEST(Monotone, DecodeStepNeverFallsWithBatchOrContext) {
  for (std::uint64_t seed = 0; seed < kCases; ++seed) {
    const PlanningCase less = planning_case(seed);
    const double was = predict(less, Role::Decode).timing.decode_s;
    PlanningCase more = less;
    for (const std::int64_t batch : {less.worker.batch + 1, less.worker.batch + 7,
                                     2 * less.worker.batch, 5 * less.worker.batch}) {
      more.worker.batch = batch;
      EXPECT_GE(predict(more, Role::Decode).timing.decode_s * kRounding, was)
          << to_string(less) << " to " << batch;
    }
    more = less;
    more.workload.isl += 1 + static_cast<std::int64_t>(seed) * 13;
    EXPECT_GE(predict(more, Role::Decode).timing.decode_s * kRounding, was) << to_string(less);
  }
}

// Rows one by one: the number of different experts touched must not fall where it nears all.
TEST(Monotone, EveryFurtherSequenceCosts) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    PlanningCase c = planning_case(seed);
    c.worker.microbatches = 1;
    double was = 0;
    for (c.worker.batch = 1; c.worker.batch <= 96; ++c.worker.batch) {
      const double is = predict(c, Role::Decode).timing.decode_s;
      ASSERT_GE(is * kRounding, was) << to_string(c);
      was = is;
    }
  }
}

double expert_bytes(const LayerShape& kind, const Precision& precision) {
  double bytes = 0;
  for (const WeightGroup& group : kind.weights) {
    if (group.part == WeightPart::Expert) {
      bytes += static_cast<double>(group.params) * bytes_per_value(precision.experts);
    }
  }
  return bytes;
}

// What a decode step cannot do without reading: every weight that multiplies once (of the experts,
// those that B sequences touch), and the attended part of every cache.
double least_step_bytes(const PlanningCase& c) {
  const Precision& precision = c.worker.precision;
  const auto sequences = static_cast<double>(c.worker.batch * c.worker.dp);
  double bytes = 0;
  for (const std::int32_t k : c.model.layers) {
    const LayerShape& kind = c.model.kinds[static_cast<std::size_t>(k)];
    for (const WeightGroup& group : kind.weights) {
      if (group.part == WeightPart::Expert) continue;
      bytes += static_cast<double>(group.params) * bytes_per_value(precision.of(group.part));
    }
    if (kind.ffn.experts > 0 && c.workload.skew == 0) {
      const double one_misses =
          1 - static_cast<double>(kind.ffn.top_k) / static_cast<double>(kind.ffn.experts);
      bytes += expert_bytes(kind, precision) * (1 - std::pow(one_misses, sequences));
    }
    auto keys = static_cast<double>(c.workload.isl);
    for (const std::int64_t most : {kind.mixer.window, kind.mixer.selected}) {
      if (most > 0) keys = std::min(keys, static_cast<double>(most));
    }
    bytes += sequences * keys * static_cast<double>(kind.mixer.kv_values) *
             bytes_per_value(precision.kv);
  }
  return bytes;
}

TEST(Physics, NoDecodeStepBeatsTheMemory) {
  for (std::uint64_t seed = 0; seed < 2 * kCases; ++seed) {
    const PlanningCase c = planning_case(seed);
    const double floor = least_step_bytes(c) /
                         (static_cast<double>(c.worker.gpus()) * c.cluster.gpu.memory_bytes_per_s);
    EXPECT_GE(predict(c, Role::Decode).rates.tpot_s, floor) << to_string(c);
    EXPECT_GE(predict(c, Role::Both).timing.decode_s, floor) << to_string(c);
  }
}

TEST(Physics, NoPrefillBeatsTheArithmetic) {
  for (std::uint64_t seed = 0; seed < 2 * kCases; ++seed) {
    const PlanningCase c = planning_case(seed);
    double head = 0;
    for (const WeightGroup& group : c.model.outer) {
      if (group.gemm) head += 2 * static_cast<double>(group.params);
    }
    double flops = weight_flops_per_token(c.model) - head;
    // Rows see from one key to all of them: the mean, from below.
    constexpr std::int64_t kPoints = 32;
    for (std::int64_t i = 0; i < kPoints; ++i) {
      flops += attention_flops(c.model, c.workload.isl * i / kPoints, true) / kPoints;
    }
    const GpuSpec& gpu = c.cluster.gpu;
    double peak = 0;
    for (const NumberFormat format : kNumberFormats) peak = std::max(peak, gpu.flops(format));
    const double tokens = predict(c, Role::Prefill).rates.prefill_tokens_per_s;
    EXPECT_LE(tokens * flops, static_cast<double>(c.worker.gpus()) * peak) << to_string(c);
  }
}

}  // namespace
}  // namespace pentafold
