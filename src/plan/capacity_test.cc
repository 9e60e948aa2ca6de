#include "plan/capacity.h"

#include <gtest/gtest.h>

#include "plan/memory.h"
#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold {
namespace {

using testing::Degrees;
using testing::legal_degrees;
using testing::make_plan;
using testing::tiny_models;

// What one rank holds, from its program.
struct Held {
  double engine = 0;   // bytes, as plan/memory.h counts them
  double plain = 0;    // parameters x bytes of the stored type, each slice once
  double padding = 0;  // at most: 15 more outputs of each matrix, vectors as fp32
  double tied = 0;     // a tied embedding on the rank that also multiplies with it
};

Held held_by(const LoweringContext& context, const RankProgram& program) {
  Held held;
  const ModelSpec& model = context.model;
  const auto size = static_cast<double>(size_of(model.dtype));
  held.engine = static_cast<double>(weight_bytes(context, program));
  for (const WeightSlice& slice : held_weights(program)) {
    const auto count = static_cast<double>(slice.count());
    held.plain += count * size;
    if (tensor_info(model, slice.id).cols == 1) {
      held.padding += count * (4 - size);
    } else {
      held.padding += 15 * static_cast<double>(slice.cols.size()) * size;
    }
    const bool both_ends = context.plan.stages.size() == 1;
    if (slice.id.role == TensorRole::Embedding && model.tied_embeddings && both_ends) {
      held.tied = count * size;
    }
  }
  return held;
}

template <class Visit>
void for_each_stage(std::int64_t limit, const Visit& visit) {
  for (const ModelSpec& model : tiny_models()) {
    for (const Degrees& degrees : legal_degrees(model, limit, PlacementStyle::Blocked)) {
      const Plan plan = make_plan(degrees, model);
      const auto context = LoweringContext::make(plan, model);
      ASSERT_TRUE(context.ok());
      for (std::int64_t s = 0; s < degrees.pp; ++s) {
        SCOPED_TRACE(model.name + " " + to_string(degrees) + " stage " + std::to_string(s));
        visit(*context, s);
      }
    }
  }
}

// Capacity is the parameters of the fullest rank in the stored type, to the byte. The engine here
// takes more by what its layout adds: outputs padded to whole panels, vectors widened to fp32, a
// tied embedding once more where it is both looked up and multiplied.
TEST(Capacity, WeightsAreThoseOfTheFullestRank) {
  for_each_stage(8, [](const LoweringContext& context, std::int64_t stage) {
    const ModelShape shape = shape_of(context.model);
    const Worker w = worker_of(context.plan, shape).value();
    const double counted = stage_bytes(shape, w, stage, 64, 1).weights;
    double most = 0;
    for (std::int64_t r = 0; r < w.stage_ranks(); ++r) {
      const Held held =
          held_by(context, lower_rank(context, context.mesh.rank_at(0, StageId(stage), r)));
      most = std::max(most, held.plain);
      EXPECT_LE(held.plain, held.engine);
      EXPECT_LE(held.engine, counted + held.padding + held.tied);
    }
    EXPECT_NEAR(counted, most, 1e-6 * most);
  });
}

// The engine's cache is fp32 and keeps what a window has passed; else the same, to the byte.
TEST(Capacity, KvIsTheEnginesPool) {
  for_each_stage(8, [](const LoweringContext& context, std::int64_t stage) {
    ModelShape shape = shape_of(context.model);
    for (LayerShape& kind : shape.kinds) kind.mixer.window = 0;
    Worker w = worker_of(context.plan, shape).value();
    w.precision.kv = NumberFormat::F32;
    for (const std::int64_t tokens : {1, 16, 17, 100}) {
      w.batch = 3;
      double most = 0;
      for (std::int64_t r = 0; r < w.stage_ranks(); ++r) {
        const RankProgram program = lower_rank(context, context.mesh.rank_at(0, StageId(stage), r));
        const RunBounds run = planned_bounds(context.plan, w.batch * kv_blocks_for(tokens));
        most = std::max(most, static_cast<double>(kv_bytes(context, program, run)));
      }
      EXPECT_DOUBLE_EQ(stage_bytes(shape, w, stage, tokens, 1).kv, most);
    }
  });
}

TEST(Capacity, KvHeadsRepeatBeyondTheirNumber) {
  MixerShape mixer;
  mixer.heads = 32;
  mixer.kv_heads = 4;
  EXPECT_EQ(kv_heads_held(mixer, 1), 4);
  EXPECT_EQ(kv_heads_held(mixer, 2), 2);
  EXPECT_EQ(kv_heads_held(mixer, 4), 1);
  EXPECT_EQ(kv_heads_held(mixer, 8), 1);
  EXPECT_EQ(kv_heads_held(mixer, 32), 1);
  mixer.heads = 24;  // 6 query heads read one of them; a third of all reads two
  EXPECT_EQ(kv_heads_held(mixer, 3), 2);
  mixer.kv_heads = 1;
  EXPECT_EQ(kv_heads_held(mixer, 1), 1);
  EXPECT_EQ(kv_heads_held(mixer, 8), 1);
}

// A layer of latent attention as in DeepSeek-V2, in small.
LayerShape latent_layer() {
  LayerShape layer;
  layer.mixer.kind = MixerKind::Latent;
  layer.mixer.heads = 16;
  layer.mixer.kv_heads = 1;
  layer.mixer.kv_values = 576;
  layer.weights = {{"kv_a_proj", 1000, Split::None, WeightPart::Attention, true},
                   {"o_proj", 1600, Split::Tensor, WeightPart::Attention, true}};
  return layer;
}

TEST(Capacity, LatentCacheNeverShrinksWithTensorRanks) {
  const LayerShape layer = latent_layer();
  Worker w;
  for (const std::int64_t tp : {1, 2, 4, 8, 16}) {
    w.tp = tp;
    EXPECT_DOUBLE_EQ(layer_kv_bytes(layer, w, 1024), 576.0 * 1024 * 2);
    EXPECT_DOUBLE_EQ(layer_weight_bytes(layer, w), 2 * (1000 + 1600.0 / static_cast<double>(tp)));
  }
  w.precision.kv = NumberFormat::FP8;
  EXPECT_DOUBLE_EQ(layer_kv_bytes(layer, w, 1024),
                   576.0 * 1024 * bytes_per_value(NumberFormat::FP8));
}

TEST(Capacity, WindowsCutTheCacheAndStatesStayAsTheyAre) {
  LayerShape layer = latent_layer();
  layer.mixer.window = 128;
  const Worker w;
  EXPECT_DOUBLE_EQ(layer_kv_bytes(layer, w, 64), 576.0 * 64 * 2);
  EXPECT_DOUBLE_EQ(layer_kv_bytes(layer, w, 100000), 576.0 * 128 * 2);
  layer.mixer.kv_values = 0;
  layer.mixer.state_values = 4096;
  EXPECT_DOUBLE_EQ(layer_kv_bytes(layer, w, 64), 4096.0 * 4);
  EXPECT_DOUBLE_EQ(layer_kv_bytes(layer, w, 100000), 4096.0 * 4);
}

TEST(Capacity, RedundantCopiesTakeTheRoomOfExperts) {
  LayerShape layer;
  layer.ffn.experts = 8;
  layer.weights = {{"experts", 8000, Split::Experts, WeightPart::Expert, true}};
  Worker w;
  w.dp = w.ep = 4;
  EXPECT_EQ(expert_slots(8, w), 2);
  EXPECT_DOUBLE_EQ(layer_weight_bytes(layer, w), 2 * 2000.0);
  w.redundant = 4;
  EXPECT_EQ(expert_slots(8, w), 3);
  EXPECT_DOUBLE_EQ(layer_weight_bytes(layer, w), 2 * 3000.0);
  w.dp = 8;
  w.etp = 2;
  EXPECT_DOUBLE_EQ(layer_weight_bytes(layer, w), 2 * 1500.0);
}

// What can only add work can only add bytes.
TEST(Capacity, BytesGrowWithBatchChunkAndLoad) {
  const ModelShape shape = shape_of(testing::tiny_qwen2_moe());
  Worker w;
  w.stage_layers = {shape.num_layers()};
  w.dp = w.ep = 2;
  const RankBytes base = worker_bytes(shape, w, 64, 1);
  Worker more = w;
  more.batch = 2;
  EXPECT_DOUBLE_EQ(worker_bytes(shape, more, 64, 1).kv, 2 * base.kv);
  more.chunk = 2 * w.chunk;
  EXPECT_GT(worker_bytes(shape, more, 64, 1).activations, base.activations);
  EXPECT_GT(worker_bytes(shape, w, 64, 1.5).buffers, base.buffers);
  EXPECT_DOUBLE_EQ(worker_bytes(shape, w, 64, 2).buffers, worker_bytes(shape, w, 64, 9).buffers);
  EXPECT_DOUBLE_EQ(base.total(),
                   base.weights + base.kv + base.activations + base.buffers + kRuntimeReserveBytes);
}

}  // namespace
}  // namespace pentafold
