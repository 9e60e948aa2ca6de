// The KV cache after a prefill with sequence parallelism equals the one without, bit for bit: each
// rank holds the heads that decode wants, for all positions.
#include <gtest/gtest.h>

#include <cstring>

#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

// Compares what `rank` caches of every layer and block with the one rank's cache of the same heads.
void expect_same_cache(const PlanRunner& split_run, Rank rank, const PlanRunner& whole_run) {
  const RankWorker& mine = split_run.engine().worker(rank);
  const RankWorker& whole = whole_run.engine().worker(Rank(0));
  const KvShape& shape = mine.kv_cache().shape();
  ASSERT_EQ(shape.layers, whole.kv_cache().shape().layers);
  const std::int64_t head = kKvBlockTokens * shape.head_dim;
  std::int64_t written = 0;
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    const KvLayer a = mine.kv_cache().layer(layer);
    const KvLayer b = whole.kv_cache().layer(layer);
    for (std::int64_t block = 0; block < shape.blocks; ++block) {
      for (std::int64_t h = 0; h < a.kv_heads; ++h) {
        const std::int64_t there = mine.kv_heads().begin + h;
        const std::int64_t at_a = (block * a.kv_heads + h) * head;
        const std::int64_t at_b = (block * b.kv_heads + there) * head;
        const auto bytes = static_cast<std::size_t>(head) * sizeof(float);
        ASSERT_EQ(std::memcmp(a.k + at_a, b.k + at_b, bytes), 0) << "K block " << block;
        ASSERT_EQ(std::memcmp(a.v + at_a, b.v + at_b, bytes), 0) << "V block " << block;
        for (std::int64_t i = 0; i < head; ++i) written += a.k[at_a + i] != 0.0F ? 1 : 0;
      }
    }
  }
  EXPECT_GT(written, 0) << "an empty cache proves nothing";
}

TEST(KvCache, AfterASequenceParallelPrefillItIsTheSame) {
  for (const ModelSpec& model : tiny_models()) {
    for (const Degrees& degrees : {Degrees{1, 1, 2, 1, 1, 1}, Degrees{1, 1, 4, 1, 1, 1},
                                   Degrees{1, 1, 2, 2, 1, 1}, Degrees{1, 1, 4, 2, 1, 1}}) {
      for (const std::int64_t chunk : {512, 7}) {
        const Scenario scenario{{37, 5, 20}, 1, chunk, 8, {}, {}};  // prefill only
        const Plan plan = make_plan(degrees, model);
        PlanRunner whole(make_plan({}, model), model);
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

}  // namespace
}  // namespace pentafold::testing
