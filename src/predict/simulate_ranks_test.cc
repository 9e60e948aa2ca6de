#include "predict/simulate_ranks.h"

#include <gtest/gtest.h>

#include <cmath>

#include "spec/load_shape.h"

namespace pentafold {
namespace {

struct SimulateRanks : testing::Test {
  ModelShape model = load_shape("qwen3-30b-a3b").value().model;
  ClusterSpec cluster = default_cluster(find_gpu("h200-sxm").value(), 8);
  EngineProfile engine = find_engine("generic", "h200-sxm").value();
  Workload workload{1000, 200, {}, {}, 0};

  Worker worker(std::vector<std::int64_t> layers) const {
    Worker w;
    w.stage_layers = std::move(layers);
    w.dp = 4;
    w.ep = 4;
    w.precision = model.stored;
    w.microbatches = w.pp();
    return w;
  }
  // One step of `seconds` (as priced if 0) with so many decodes in each dp group.
  std::vector<RankTime> ranks(const Worker& w, const std::vector<std::int64_t>& decodes,
                              double busy_share = 0.5) const {
    const StepCost costs(model, cluster, engine, workload);
    const StepPricer pricer(costs, w);
    RankMeter meter(costs, pricer);
    StepLoad load;
    for (const std::int64_t n : decodes) {
      load.groups.push_back({n, 1000.0 * static_cast<double>(n), {}, 0});
    }
    meter.add({0, 0, 1.0, 1.0 + pricer.seconds(load), 1, &load});
    EXPECT_GT(meter.error_s(), 0);
    EXPECT_NEAR(meter.priced_s(), pricer.seconds(load), 1e-12);
    return meter.ranks(busy_share);
  }
};

void expect_whole(const std::vector<RankTime>& ranks, double busy_share) {
  for (const RankTime& r : ranks) {
    for (const double part : {r.compute, r.communication, r.waiting, r.bubble, r.idle}) {
      EXPECT_GE(part, -1e-12);
    }
    EXPECT_NEAR(r.compute + r.communication + r.waiting + r.bubble, busy_share, 1e-9);
    EXPECT_NEAR(r.idle, 1 - busy_share, 1e-9);
  }
}

TEST_F(SimulateRanks, EqualRanksShareEqually) {
  const auto found = ranks(worker({48}), {64, 64, 64, 64});
  ASSERT_EQ(found.size(), 4U);
  expect_whole(found, 0.5);
  for (const RankTime& r : found) {
    EXPECT_NEAR(r.waiting, 0, 1e-12);
    EXPECT_EQ(r.bubble, 0);
    EXPECT_DOUBLE_EQ(r.compute, found.front().compute);
    EXPECT_GT(r.communication, 0);
  }
}

TEST_F(SimulateRanks, WhoHasLessWaitsForWhoHasMore) {
  const auto found = ranks(worker({48}), {256, 64, 64, 0});
  expect_whole(found, 0.5);
  EXPECT_NEAR(found[0].waiting, 0, 1e-12);
  EXPECT_GT(found[1].waiting, 0);
  EXPECT_DOUBLE_EQ(found[1].compute, found[2].compute);
  EXPECT_GT(found[3].waiting, found[1].waiting);
}

TEST_F(SimulateRanks, HotExpertsMakeTheirRanksBusy) {
  auto counts = std::make_shared<ExpertHistogram>();
  counts->experts = 128;
  for (std::int64_t l = 0; l < 48; ++l) {
    counts->layers.push_back(l);
    // Group 2 of 4 holds experts 64 to 95.
    for (std::int64_t e = 0; e < 128; ++e) counts->counts.push_back(e / 32 == 2 ? 300 : 100);
  }
  workload.expert_load = counts;
  const auto found = ranks(worker({48}), {512, 512, 512, 512});
  expect_whole(found, 0.5);
  EXPECT_NEAR(found[2].waiting, 0, 1e-9);
  for (const std::size_t other : {0U, 1U, 3U}) {
    EXPECT_GT(found[other].waiting, 0);
    EXPECT_LT(found[other].compute, found[2].compute);
  }
  // Without names the groups come by their load.
  workload.expert_load = nullptr;
  workload.skew = 1;
  const auto sorted = ranks(worker({48}), {512, 512, 512, 512});
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    EXPECT_LE(sorted[i].compute, sorted[i - 1].compute);
  }
  EXPECT_GT(sorted.back().waiting, 0);
}

TEST_F(SimulateRanks, ShortStagesWaitForLongOnes) {
  const auto found = ranks(worker({32, 16}), {64, 64, 64, 64}, 1);
  ASSERT_EQ(found.size(), 8U);
  expect_whole(found, 1);
  EXPECT_LT(found.front().bubble, found.back().bubble);
  EXPECT_GT(found.front().compute, found.back().compute);
  EXPECT_EQ(found.back().stage, 1);
  EXPECT_EQ(found.back().rank, 3);
  EXPECT_EQ(found.back().expert_group, 3);
  const RankTime mean = mean_of(found);
  EXPECT_NEAR(mean.compute, (found.front().compute + found.back().compute) / 2, 1e-9);
  EXPECT_NEAR(mean.compute + mean.communication + mean.waiting + mean.bubble + mean.idle, 1, 1e-9);
}

}  // namespace
}  // namespace pentafold
