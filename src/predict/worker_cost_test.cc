#include "predict/worker_cost.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "support/planning_cases.h"

namespace pentafold {
namespace {

using testing::planning_case;
using testing::PlanningCase;

PipelineTime stages(std::initializer_list<double> seconds) {
  PipelineTime out;
  for (const double s : seconds) out.add(s, 1);
  return out;
}

// The classic bubble: of the whole, (p - 1) / (m + p - 1) is idle.
TEST(Pipeline, PrefillBubbleIsTheClassicOne) {
  for (const std::int64_t p : {1, 2, 4, 8}) {
    for (const std::int64_t m : {1, 2, 5, 64}) {
      PipelineTime equal;
      equal.add(3.0, p);  // each stage works 3 s in all
      const double whole = prefill_pass_seconds(equal, m, 0);
      const auto stages_n = static_cast<double>(p);
      EXPECT_NEAR((whole - 3.0) / whole, (stages_n - 1) / (static_cast<double>(m) + stages_n - 1),
                  1e-12);
    }
  }
}

// Two microbatches over stages of 1 s and 2 s each: 1 + 2 for the first, 2 more for the second.
TEST(Pipeline, UnevenStagesWaitForTheSlowest) {
  EXPECT_DOUBLE_EQ(prefill_pass_seconds(stages({2, 4}), 2, 0), 5);
  EXPECT_DOUBLE_EQ(prefill_pass_seconds(stages({2, 4}), 2, 0.1), 5.2);
  EXPECT_DOUBLE_EQ(decode_step_seconds(stages({1, 2}), 1, 0.1), 3.1);
  EXPECT_DOUBLE_EQ(decode_step_seconds(stages({1, 2}), 2, 0), 4);
  EXPECT_DOUBLE_EQ(decode_step_seconds(stages({1, 2}), 3, 0), 6);
}

TEST(Pipeline, DecodeIdlesOnlyBelowAsManyMicrobatchesAsStages) {
  for (const std::int64_t p : {1, 2, 4, 8}) {
    for (const std::int64_t m : {1, 2, 4, 8, 16}) {
      PipelineTime equal;
      equal.add(1.0, p);
      const double step = decode_step_seconds(equal, m, 0);
      const auto busy = static_cast<double>(m);
      const double idle =
          static_cast<double>(std::max<std::int64_t>(p - m, 0)) / static_cast<double>(p);
      EXPECT_NEAR((step - busy) / step, idle, 1e-12) << p << " stages, " << m;
    }
  }
}

Worker group_of(std::int64_t dp, std::int64_t batch) {
  Worker w;
  w.dp = dp;
  w.batch = batch;
  return w;
}

// 8 sequences in each of 2 groups, 4 prompts a pass of 1 s, 100 steps of 0.1 s: a cycle of 12 s
// finishes 16 requests.
TEST(SteadyState, BothRoles) {
  const Workload workload{1000, 101, {}, {}, 0};
  const Rates rates = steady_state(workload, group_of(2, 8), {1.0, 0.1, 4}, Role::Both);
  EXPECT_DOUBLE_EQ(rates.requests_per_s, 16 / 12.0);
  EXPECT_DOUBLE_EQ(rates.tokens_per_s, 101 * 16 / 12.0);
  EXPECT_DOUBLE_EQ(rates.prefill_tokens_per_s, 8 * 1000 / 1.0);
  EXPECT_DOUBLE_EQ(rates.tpot_s, 0.1 + 1.0 / 100);  // the other pass, spread over 100 steps
  EXPECT_DOUBLE_EQ(rates.ttft_s, 1.5 + 0.05);
  EXPECT_DOUBLE_EQ(rates.service_s, 1);
}

// Alone, a request waits for nobody; a single token needs no decode step.
TEST(SteadyState, OneSequenceAndOneToken) {
  const Rates alone =
      steady_state({1000, 101, {}, {}, 0}, group_of(1, 1), {1.0, 0.1, 1}, Role::Both);
  EXPECT_DOUBLE_EQ(alone.ttft_s, 1);
  EXPECT_DOUBLE_EQ(alone.tpot_s, 0.1);
  EXPECT_DOUBLE_EQ(alone.requests_per_s, 1 / 11.0);
  const Rates first = steady_state({1000, 1, {}, {}, 0}, group_of(1, 8), {1.0, 0.1, 1}, Role::Both);
  EXPECT_DOUBLE_EQ(first.requests_per_s, 1);
  EXPECT_DOUBLE_EQ(first.tokens_per_s, 1);
  EXPECT_EQ(first.tpot_s, 0);
}

TEST(SteadyState, OneRole) {
  const Workload workload{1000, 101, {}, {}, 0};
  const Rates prefill = steady_state(workload, group_of(2, 4), {1.0, 0, 4}, Role::Prefill);
  EXPECT_DOUBLE_EQ(prefill.requests_per_s, 8);
  EXPECT_DOUBLE_EQ(prefill.ttft_s, 1);
  EXPECT_EQ(prefill.tokens_per_s, 0);
  const Rates decode = steady_state(workload, group_of(2, 8), {0, 0.1, 1}, Role::Decode);
  EXPECT_DOUBLE_EQ(decode.requests_per_s, 16 / 10.0);
  EXPECT_DOUBLE_EQ(decode.tpot_s, 0.1);
  EXPECT_EQ(decode.prefill_tokens_per_s, 0);
}

TEST(Queue, LoadAndWaitAreInverse) {
  EXPECT_EQ(queue_wait_seconds(0, 2), 0);
  EXPECT_DOUBLE_EQ(queue_wait_seconds(0.5, 2), 1);  // M/D/1: half of M/M/1's
  for (const double load : {0.1, 0.5, 0.9, 0.99}) {
    EXPECT_NEAR(load_for_wait(queue_wait_seconds(load, 3), 3), load, 1e-12);
  }
  EXPECT_GT(queue_wait_seconds(1, 2), 1e20);
  EXPECT_EQ(load_for_wait(-1, 2), 0);
}

TEST(StageMixes, CountLayersAndMergeEqualStages) {
  ModelShape model;
  model.kinds.resize(2);
  model.layers = {0, 1, 1, 1, 1, 1, 1, 1};
  const std::vector<std::int64_t> cut = {2, 2, 2, 2};
  const auto mixes = stage_mixes(model, cut);
  ASSERT_EQ(mixes.size(), 3U);
  EXPECT_EQ(mixes[0], (StageMix{{1, 1}, true, false, 1}));
  EXPECT_EQ(mixes[1], (StageMix{{0, 2}, false, false, 2}));
  EXPECT_EQ(mixes[2], (StageMix{{0, 2}, false, true, 1}));
}

double booked(const Cost& cost) {
  return std::accumulate(cost.by.begin(), cost.by.end(), 0.0);
}

// Every second is booked under what binds it, idle time included.
TEST(PredictWorker, BooksEverySecond) {
  const EngineProfile engine;
  for (std::uint64_t seed = 1000; seed < 1300; ++seed) {
    const PlanningCase c = planning_case(seed);
    const StepCost costs(c.model, c.cluster, engine, c.workload);
    const WorkerPrediction p = predict_worker(costs, c.worker, Role::Both);
    EXPECT_NEAR(booked(p.prefill), p.prefill.seconds, 1e-9 * p.prefill.seconds);
    EXPECT_NEAR(booked(p.decode), p.decode.seconds, 1e-9 * p.decode.seconds);
    EXPECT_NEAR(p.prefill.seconds, p.timing.prefill_s, 1e-9 * p.timing.prefill_s) << to_string(c);
    EXPECT_NEAR(p.decode.seconds, p.timing.decode_s, 1e-9 * p.timing.decode_s) << to_string(c);
    for (const double s : p.decode.by) EXPECT_GE(s, 0) << to_string(c);
    for (const double s : p.prefill.by) EXPECT_GE(s, 0) << to_string(c);
    EXPECT_TRUE(std::isfinite(p.rates.ttft_s) && p.rates.ttft_s > 0) << to_string(c);
    EXPECT_GE(p.rates.ttft_s, p.timing.prefill_s);
    EXPECT_GE(p.rates.tpot_s, c.workload.osl > 1 ? p.timing.decode_s : 0);
    // One request in flight at a time gives no more than one in its own life.
    EXPECT_LE(p.rates.requests_per_s * (p.timing.prefill_s / static_cast<double>(p.timing.prompts)),
              static_cast<double>(c.worker.dp) * (1 + 1e-9));
  }
}

// Bytes of the cache over all ranks that send it, on the outermost link.
TEST(KvTransfer, IsTheCacheOverTheLinks) {
  const EngineProfile engine;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const PlanningCase c = planning_case(seed);
    const StepCost costs(c.model, c.cluster, engine, c.workload);
    const double bytes = kv_bytes_of_sequence(c.model, c.worker.precision.kv, c.workload.isl);
    const auto senders = static_cast<double>(c.worker.tensor_ranks() * c.worker.pp());
    EXPECT_DOUBLE_EQ(kv_transfer_seconds(costs, c.worker),
                     costs.operators().send(c.cluster.links.size() - 1, bytes / senders).seconds);
  }
}

TEST(CachedTokens, PrefillKeepsThePromptOnly) {
  const Workload workload{100, 7, {}, {}, 0};
  EXPECT_EQ(cached_tokens(workload, Role::Prefill), 100);
  EXPECT_EQ(cached_tokens(workload, Role::Decode), 107);
  EXPECT_EQ(cached_tokens(workload, Role::Both), 107);
}

}  // namespace
}  // namespace pentafold
