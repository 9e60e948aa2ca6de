// The KV cache after a prefill with sequence parallelism equals the one without, bit for bit: each
// rank holds the heads that decode wants, for all positions. And no plan changes a bit, whatever
// the cache is held in.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "kernels/kv_layout.h"
#include "support/run_plan.h"
#include "support/tiny_models.h"
#include "support/validation_text.h"

namespace pentafold::testing {
namespace {

constexpr std::array<NumberFormat, 4> kFormats = {NumberFormat::F32, NumberFormat::BF16,
                                                  NumberFormat::F16, NumberFormat::INT8};

std::int64_t bytes_written(const std::byte* tile, std::size_t bytes) {
  return std::count_if(tile, tile + bytes, [](std::byte b) { return b != std::byte{0}; });
}

// Compares what `rank` caches of every layer and block with the one rank's cache of the same heads.
void expect_same_cache(const PlanRunner& split_run, Rank rank, const PlanRunner& whole_run) {
  const RankWorker& mine = split_run.engine().worker(rank);
  const RankWorker& whole = whole_run.engine().worker(Rank(0));
  const KvShape& shape = mine.kv_cache().shape();
  ASSERT_EQ(shape.layers, whole.kv_cache().shape().layers);
  std::int64_t written = 0;
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    const KvLayer a = mine.kv_cache().layer(layer);
    const KvLayer b = whole.kv_cache().layer(layer);
    for (std::int64_t block = 0; block < shape.blocks; ++block) {
      for (std::int64_t h = 0; h < a.kv_heads; ++h) {
        const std::int64_t at_a = kv_tile_offset(a, block, h);
        const std::int64_t at_b = kv_tile_offset(b, block, mine.kv_heads().begin + h);
        const auto bytes =
            static_cast<std::size_t>(kv_tile_bytes(a.type, kKvBlockTokens, a.head_dim));
        ASSERT_EQ(std::memcmp(a.k + at_a, b.k + at_b, bytes), 0) << "K block " << block;
        ASSERT_EQ(std::memcmp(a.v + at_a, b.v + at_b, bytes), 0) << "V block " << block;
        written += bytes_written(a.k + at_a, bytes);
      }
    }
  }
  EXPECT_GT(written, 0) << "an empty cache proves nothing";
}

TEST(KvCache, AfterASequenceParallelPrefillItIsTheSame) {
  std::size_t turn = 0;
  for (const ModelSpec& model : tiny_models()) {
    for (const Degrees& degrees : {Degrees{1, 1, 2, 1, 1, 1}, Degrees{1, 1, 4, 1, 1, 1},
                                   Degrees{1, 1, 2, 2, 1, 1}, Degrees{1, 1, 4, 2, 1, 1}}) {
      for (const std::int64_t chunk : {512, 7}) {
        const Scenario scenario{{37, 5, 20}, 1, chunk, 8, {}, {}};  // prefill only
        Plan plan = make_plan(degrees, model);
        Plan one = make_plan({}, model);
        plan.kv = one.kv = kFormats[turn++ % kFormats.size()];
        PlanRunner whole(one, model);
        PlanRunner split_run(plan, model);
        whole.run(scenario);
        split_run.run(scenario);
        for (std::int64_t r = 0; r < plan.world(); ++r) {
          SCOPED_TRACE(model.name + " " + to_string(degrees) + " rank " + std::to_string(r));
          expect_same_cache(split_run, Rank(r), whole);
        }
      }
    }
  }
}

// Every type of cache under a sample of plans: prompts whole, in chunks and in decode, the bits of
// one rank; and each type is another one's bits.
TEST(KvCache, EveryTypeHasTheSameBitsUnderEveryPlan) {
  for (const ModelSpec& model : {tiny_mixtral(), tiny_qwen2_moe(), tiny_olmoe()}) {
    const std::vector<Degrees> all = legal_degrees(model, 8, PlacementStyle::Blocked);
    std::vector<std::uint64_t> hashes;
    for (std::size_t type = 0; type < kFormats.size(); ++type) {
      Plan one = make_plan({}, model);
      one.kv = kFormats[type];
      const Scenario whole{{70, 5, 33}, 4, 512, 8, {}, {}};
      const Scenario chunks{{70, 5, 33}, 4, 7, 2, {}, {}};
      const Outcome expected = PlanRunner(one, model).run(whole);
      EXPECT_EQ(PlanRunner(one, model).run(chunks), expected) << model.name << " type " << type;
      EXPECT_EQ(PlanRunner(one, model, "reference").run(whole), expected)
          << model.name << " type " << type;
      hashes.push_back(expected.logits_hash);
      // A stride that is prime to most counts: all kinds of degrees in a short time.
      for (std::size_t i = type; i < all.size(); i += std::max<std::size_t>(1, all.size() / 7)) {
        Plan plan = make_plan(all[i], model);
        plan.kv = kFormats[type];
        PlanRunner runner(plan, model);
        const std::string where = model.name + " " + to_string(all[i]);
        EXPECT_EQ(runner.run(whole), expected) << where << " type " << type;
        EXPECT_EQ(runner.run(chunks), expected) << where << " type " << type;
      }
    }
    std::ranges::sort(hashes);
    EXPECT_EQ(std::ranges::adjacent_find(hashes), hashes.end()) << "a type that rounds nothing";
  }
}

// docs/numerics.md has the figures.
TEST(KvCache, TheShippedCheckpointStaysNearItself) {
  Plan plan = make_plan({}, shipped_model());
  const ValidationScore wide = validation_score(plan);
  EXPECT_NEAR(wide.nats, 3.68, 0.02);  // models/tiny-moe/README.md
  const auto measured = [&](NumberFormat format) {
    plan.kv = format;
    const ScoreDistance d = distance(validation_score(plan), wide);
    std::printf("kv %s: perplexity %.4f (f32 %.4f), logits differ by %.5f rms, %.4f at most\n",
                to_string(format), std::exp(wide.nats + d.nats), std::exp(wide.nats), d.rms,
                d.worst);
    return d;
  };
  const ScoreDistance half = measured(NumberFormat::F16);
  const ScoreDistance brain = measured(NumberFormat::BF16);
  const ScoreDistance eight = measured(NumberFormat::INT8);
  EXPECT_GT(half.rms, 0);
  EXPECT_LT(half.rms, brain.rms);
  EXPECT_LT(brain.rms, eight.rms);
  EXPECT_LT(eight.rms, 0.06);
  for (const ScoreDistance& d : {half, brain, eight}) EXPECT_LT(d.worst, 5.0);
  EXPECT_LT(std::abs(eight.nats), 0.01);
}

}  // namespace
}  // namespace pentafold::testing
