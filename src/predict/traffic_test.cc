#include "predict/traffic.h"

#include <gtest/gtest.h>

#include "spec/load_shape.h"

namespace pentafold {
namespace {

double seconds_of(const TrafficByKind& traffic) {
  double sum = 0;
  for (const Traffic& part : traffic) sum += part.seconds;
  return sum;
}

double linked(const Cost& cost) {
  return cost.by[static_cast<std::size_t>(Bound::Link)] +
         cost.by[static_cast<std::size_t>(Bound::Latency)];
}

const Traffic& of(const TrafficByKind& traffic, Collective kind) {
  return traffic[static_cast<std::size_t>(kind)];
}

struct TrafficTest : testing::Test {
  ModelShape model = load_shape("qwen3-30b-a3b").value().model;
  ClusterSpec cluster = default_cluster(find_gpu("h100").value(), 64);
  EngineProfile engine;
  Workload workload{4000, 1000, std::nullopt, std::nullopt, 0.3};
  StepCost costs{model, cluster, engine, workload};

  static Worker worker(std::int64_t pp, std::int64_t dp, std::int64_t sp, std::int64_t tp) {
    Worker w;
    w.stage_layers.assign(static_cast<std::size_t>(pp), 48 / pp);
    w.dp = dp;
    w.sp = sp;
    w.tp = tp;
    w.batch = 16;
    return w;
  }
};

TEST_F(TrafficTest, KindsSumToWhatThePredictionWaitsForOnLinks) {
  for (const std::int64_t pp : {1, 3}) {
    for (const std::int64_t sp : {1, 2}) {
      for (const std::int64_t tp : {1, 2}) {
        for (const std::int64_t ep : {1, 4, 8}) {
          for (const std::int64_t chunk : {512, 8192}) {
            Worker w = worker(pp, 4, sp, tp);
            if (w.stage_ranks() % ep != 0) continue;
            w.ep = ep;
            w.chunk = chunk;
            w.microbatches = pp;
            const WorkerPrediction p = predict_worker(costs, w, Role::Both);
            const auto decode = decode_traffic(costs, w);
            const auto prefill = prefill_traffic(costs, w, p.timing.prompts);
            EXPECT_NEAR(seconds_of(decode), linked(p.decode), 1e-9 * p.decode.seconds);
            EXPECT_NEAR(seconds_of(prefill), linked(p.prefill), 1e-9 * p.prefill.seconds);
          }
        }
      }
    }
  }
}

TEST_F(TrafficTest, AKindIsThereExactlyWhereItsDegreeIs) {
  const auto has = [](const TrafficByKind& traffic, Collective kind) {
    const Traffic& t = of(traffic, kind);
    EXPECT_EQ(t.calls > 0, t.seconds > 0);
    EXPECT_EQ(t.calls > 0, t.bytes > 0);
    return t.calls > 0;
  };
  for (const std::int64_t pp : {1, 2}) {
    for (const std::int64_t sp : {1, 2}) {
      for (const std::int64_t tp : {1, 2}) {
        for (const std::int64_t ep : {1, 2}) {
          Worker w = worker(pp, 2, sp, tp);
          w.ep = ep;
          // The last stage hands nothing over: let the first be the slowest.
          if (pp == 2) w.stage_layers = {30, 18};
          const auto decode = decode_traffic(costs, w);
          const auto prefill = prefill_traffic(costs, w, 1);
          EXPECT_EQ(has(decode, Collective::Tensor), sp * tp > 1);
          EXPECT_EQ(has(prefill, Collective::Tensor), tp > 1);
          EXPECT_EQ(has(decode, Collective::Experts), ep > 1);
          EXPECT_EQ(has(prefill, Collective::Experts), ep > 1);
          EXPECT_EQ(has(decode, Collective::Pipeline), pp > 1);
          EXPECT_EQ(has(prefill, Collective::Pipeline), pp > 1);
          EXPECT_FALSE(has(decode, Collective::Sequence));
          EXPECT_EQ(has(prefill, Collective::Sequence), sp > 1);
        }
      }
    }
  }
}

// One layer's numbers by hand: 48 layers, 16 rows of 2048 bf16 values over 2 ranks.
TEST_F(TrafficTest, TensorBytesAreTheRingsBytes) {
  const auto decode = decode_traffic(costs, worker(1, 1, 1, 2));
  const double message = 16.0 * 2048 * 2;
  // An all-reduce after attention moves the message once, the gather before the experts half.
  EXPECT_DOUBLE_EQ(of(decode, Collective::Tensor).bytes, 48 * (message + message / 2));
  EXPECT_DOUBLE_EQ(of(decode, Collective::Tensor).calls, 96);
}

TEST_F(TrafficTest, ExpertBytesAreCountedByDrawing) {
  Worker w = worker(1, 4, 1, 1);
  w.ep = 4;
  const Workload even{4000, 1000, std::nullopt, std::nullopt, 0};
  const StepCost fair(model, cluster, engine, even);
  const auto decode = decode_traffic(fair, w);
  // Eight draws over four homes reach 4 (1 - (3/4)^8) of them, three in four of which are remote.
  const double homes = 4 * (1 - 0.75 * 0.75 * 0.75 * 0.75 * 0.75 * 0.75 * 0.75 * 0.75);
  EXPECT_NEAR(of(decode, Collective::Experts).bytes, 48 * 16 * homes * 0.75 * 2 * 2048 * 2, 1);
}

}  // namespace
}  // namespace pentafold
