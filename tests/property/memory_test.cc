// Memory counts: weights and KV are what execution stores, to the byte; rows are never more than
// the bound, whatever the scheduler makes of the requests. What runs really hold: see
// memory_peak_test.cc.
#include "plan/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "base/random.h"
#include "execute/kv_cache.h"
#include "execute/rows.h"
#include "execute/weight_store.h"
#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

std::vector<RankProgram> lower_all(const LoweringContext& context) {
  std::vector<RankProgram> programs;
  for (std::int64_t r = 0; r < context.plan.world(); ++r) {
    programs.push_back(lower_rank(context, Rank(r)));
  }
  return programs;
}

// Pipelines share no slice, so the store that all ranks load from holds what they need in sum.
TEST(Memory, WeightsAreWhatTheStoreHolds) {
  for (const ModelSpec& model : tiny_models()) {
    for (const WeightFormats& formats :
         {WeightFormats{}, weights_in(NumberFormat::BF16), weights_in(NumberFormat::INT8),
          weights_in(NumberFormat::INT4)}) {
      for (const std::int64_t pp : {1, 2, 4}) {
        Plan plan = make_plan({pp, 1, 1, 1, 1, 1}, model);
        plan.weights = formats;
        const auto context = LoweringContext::make(plan, model);
        ASSERT_TRUE(context.ok());
        std::int64_t counted = 0;
        for (const RankProgram& program : lower_all(*context)) {
          counted += weight_bytes(*context, program);
        }
        PlanRunner runner(plan, model);
        Scenario scenario;
        scenario.prompt_lengths = {3};
        runner.run(scenario);
        EXPECT_EQ(counted, runner.last_report.weight_bytes) << model.name << " pp " << pp;
      }
    }
  }
}

// Any slicing: each rank alone with a store of its own.
TEST(Memory, WeightsOfEveryRankOfEveryPlan) {
  const auto device = make_device("cpu");
  std::size_t plans = 0;
  for (const ModelSpec& model : {tiny_qwen2_moe(), tiny_olmoe()}) {
    for (const Degrees& degrees : legal_degrees(model, 4, PlacementStyle::Blocked)) {
      Plan plan = make_plan(degrees, model);
      const std::array<WeightFormats, 3> formats = {WeightFormats{}, weights_in(NumberFormat::INT8),
                                                    weights_in(NumberFormat::INT4)};
      plan.weights = formats[plans++ % formats.size()];
      const auto context = LoweringContext::make(plan, model);
      ASSERT_TRUE(context.ok());
      for (const RankProgram& program : lower_all(*context)) {
        WeightStore store(WeightSource::synthetic(model), *device, model, plan.weights);
        for (const WeightSlice& slice : held_weights(program)) {
          const TensorInfo info = tensor_info(model, slice.id);
          if (slice.id.role == TensorRole::Embedding) {
            store.table(slice);  // neither model ties its embeddings
          } else if (info.cols == 1) {
            store.vector(slice);
          } else {
            store.matrix(slice);
          }
        }
        EXPECT_EQ(weight_bytes(*context, program), store.bytes_held())
            << to_string(degrees) << " rank " << program.rank.value;
      }
    }
  }
}

TEST(Memory, KvPoolIsTheCaches) {
  const ModelSpec model = tiny_olmoe();
  Plan plan = make_plan({2, 2, 2, 1, 1, 1}, model);
  plan.stages[1].dp = 4;
  plan.stages[1].sp = 1;
  plan.stages[0].layers = 1;
  plan.stages[1].layers = 3;
  const auto context = LoweringContext::make(plan, model);
  ASSERT_TRUE(context.ok());
  const std::int64_t blocks = 7;
  const RunBounds run = planned_bounds(plan, blocks);
  for (const NumberFormat format :
       {NumberFormat::F32, NumberFormat::BF16, NumberFormat::F16, NumberFormat::INT8}) {
    plan.kv = format;  // which the context refers to
    const KvType type = run_kv_type(context->plan);
    // 4 scheduling groups: the first stage keeps two of them on each dp group, half the KV heads.
    EXPECT_EQ(kv_bytes(*context, lower_rank(*context, Rank(0)), run),
              (KvShape{1, 2 * blocks, model.kv_heads / 2, model.head_dim, type}).bytes());
    EXPECT_EQ(kv_bytes(*context, lower_rank(*context, Rank(4)), run),
              (KvShape{3, blocks, model.kv_heads, model.head_dim, type}).bytes());
  }
  EXPECT_EQ(kKvTokensPerBlock, kKvBlockTokens);
}

// The planned pool is the one that `run` makes for the same requests.
TEST(Memory, PlannedBlocksRunAllRequestsAtOnce) {
  const ModelSpec model = tiny_mixtral();
  for (const std::int64_t requests : {1, 5, 16, 17}) {
    for (const std::int64_t replicas : {1, 3}) {
      Plan plan = make_plan({1, 2, 1, 1, 1, 1}, model);
      plan.replicas = replicas;
      plan.requests = {requests, 30, 4, 0};
      const std::vector<std::int64_t> lengths(static_cast<std::size_t>(requests), 30);
      EXPECT_EQ(planned_kv_blocks(plan), blocks_needed(plan, make_requests(model, lengths, 4)));
    }
  }
}

// Seeded requests through the real scheduler: no rank ever has more rows than its bound.
TEST(Memory, RowsStayWithinTheirBounds) {
  const ModelSpec model = tiny_mixtral();
  bool reached = false;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const auto draw = [&, n = seed * 1000]() mutable { return mix64(n++); };
    auto next = draw;
    const auto pick = [&](std::uint64_t most) {
      return static_cast<std::int64_t>(1 + next() % most);
    };
    const Degrees degrees{
        1, pick(3), std::int64_t{1} << (pick(2) - 1), std::int64_t{1} << (pick(2) - 1), 1, 1};
    Plan plan = make_plan(degrees, model);
    plan.max_batch = pick(6);
    plan.microbatches = pick(4);
    plan.prefill_chunk = pick(20);
    const std::int64_t blocks = 3 + pick(6);
    const auto context = LoweringContext::make(plan, model);
    ASSERT_TRUE(context.ok());
    Scheduler scheduler(scheduler_limits(plan, blocks));
    std::vector<std::int64_t> lengths;
    for (int i = 0; i < 9; ++i) lengths.push_back(pick(40));
    RunBounds run = planned_bounds(plan, blocks);
    if (seed % 2 == 0) {  // the requests are known
      run.requests = std::ssize(lengths);
      run.longest_prompt = *std::max_element(lengths.begin(), lengths.end());
      run.prompt_tokens = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
    }
    for (Request& request : make_requests(model, lengths, pick(5))) {
      ASSERT_TRUE(scheduler.add(std::move(request)).ok());
    }
    while (!scheduler.done()) {
      const StepBatch batch = scheduler.next();
      const StagePlan& stage = plan.stages[0];
      const RowBounds bounds = row_bounds(run, stage, batch.phase);
      for (const RankProgram& program : lower_all(*context)) {
        std::int64_t of_step = 0;
        std::int64_t local_of_step = 0;
        for (const Range& segments : batch.microbatches) {
          RowTable rows;
          fill_rows({batch, segments}, stage, program.of(batch.phase).coord, blocks, rows);
          EXPECT_LE(std::ssize(rows.first_blocks), bounds.requests) << "seed " << seed;
          EXPECT_LE(std::ssize(rows.block_ids), bounds.blocks) << "seed " << seed;
          local_of_step += rows.rows(RowSet::Local);
          for (const RowSet set : {RowSet::Local, RowSet::Group, RowSet::Slice}) {
            EXPECT_LE(rows.rows(set), bounds.of(set)) << to_string(set) << " seed " << seed;
          }
          reached = reached || rows.rows(RowSet::Group) == bounds.of(RowSet::Group);
          of_step += rows.rows(RowSet::Group);
        }
        EXPECT_LE(of_step, bounds.step_group) << "seed " << seed;
        EXPECT_LE(local_of_step, bounds.step_local) << "seed " << seed;
      }
      for (const Segment& segment : batch.segments) {
        if (segment.samples) scheduler.accept(segment.request, 0);
      }
    }
  }
  EXPECT_TRUE(reached) << "a bound that is never reached says little";
}

TEST(Memory, MoreRowsNeverNeedLess) {
  const ModelSpec model = tiny_qwen2_moe();
  Plan plan = make_plan({2, 1, 2, 1, 2, 1}, model);
  MemoryUse before;
  for (const std::int64_t chunk : {1, 16, 512}) {
    plan.prefill_chunk = chunk;
    const auto context = LoweringContext::make(plan, model);
    const MemoryUse use =
        memory_use(*context, lower_rank(*context, Rank(0)), planned_bounds(plan, 0));
    EXPECT_GT(use.registers, before.registers);
    EXPECT_GT(use.buffers, before.buffers);
    before = use;
  }
}

// The largest plan and model that files may ask for: counts saturate, nothing overflows.
TEST(Memory, HugeCountsSaturate) {
  ModelSpec model = tiny_mixtral();
  model.d = std::int64_t{1} << 30;
  model.vocab = std::int64_t{1} << 30;
  model.expert_hidden = std::int64_t{1} << 30;
  Plan plan = make_plan({1, 1, 1, 1, 1, 1}, model);
  plan.kv_blocks = std::int64_t{1} << 32;
  plan.max_batch = 65536;
  plan.prefill_chunk = std::int64_t{1} << 20;
  plan.capacity_factor = 1.0;
  const auto context = LoweringContext::make(plan, model);
  ASSERT_TRUE(context.ok());
  const MemoryUse use =
      memory_use(*context, lower_rank(*context, Rank(0)), planned_bounds(plan, plan.kv_blocks));
  EXPECT_GT(use.registers, std::int64_t{1} << 59);
  EXPECT_GT(use.total(), use.registers);
}

TEST(Memory, TableNamesEveryRankAndTheMost) {
  const std::vector<MemoryUse> uses = {{1000, 20, 3, 4}, {10, 2000, 3, 5}};
  const std::string table = format_memory(uses);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 4);
  EXPECT_NE(table.find("     1       10 B    2.00 kB        3 B        5 B    2.02 kB"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("  most    1.00 kB    2.00 kB        3 B        5 B"), std::string::npos)
      << table;
}

}  // namespace
}  // namespace pentafold::testing
