#include "plan/weight_formats.h"

#include <gtest/gtest.h>

#include "plan/lower.h"
#include "plan/plan_file.h"

namespace pentafold {
namespace {

// Leaf 22 of the down projections (352 = 16 x 22), heads of 24.
ModelSpec model() {
  ModelSpec model;
  model.d = 400;
  model.heads = 8;
  model.kv_heads = 4;
  model.head_dim = 24;
  model.vocab = 100;
  model.layers.assign(2, LayerSpec{true, 0});
  model.experts = 4;
  model.top_k = 2;
  model.expert_hidden = 352;
  model.dense_hidden = 4096;
  model.shared_hidden = 96;
  model.shared_gate = true;
  model.dtype = DType::BF16;
  return model;
}

IntegerFormat integers(const WeightFormats& formats, TensorRole role, std::int32_t expert = -1) {
  return held_format(formats, model(), {role, 0, expert}, WeightUse::Multiplied, DType::BF16)
      .integers;
}

TEST(WeightFormats, IntegersAreWhatIsMultipliedWith) {
  const WeightFormats eight = weights_in(NumberFormat::INT8);
  EXPECT_EQ(integers(eight, TensorRole::Q), (IntegerFormat{8, 100}));
  EXPECT_EQ(integers(eight, TensorRole::O), (IntegerFormat{8, 24}));
  EXPECT_EQ(integers(eight, TensorRole::Up, 3), (IntegerFormat{8, 100}));
  EXPECT_EQ(integers(eight, TensorRole::Down, 3), (IntegerFormat{8, 22}));
  EXPECT_EQ(integers(eight, TensorRole::Down), (IntegerFormat{8, 64}));
  EXPECT_EQ(integers(eight, TensorRole::SharedDown), (IntegerFormat{8, 2}));
  EXPECT_EQ(integers(eight, TensorRole::LmHead), (IntegerFormat{8, 100}));
  EXPECT_EQ(integers(eight, TensorRole::Embedding), (IntegerFormat{8, 100}));
  for (const TensorRole role : {TensorRole::Router, TensorRole::SharedRouter, TensorRole::InputNorm,
                                TensorRole::QBias, TensorRole::FinalNorm}) {
    EXPECT_EQ(integers(eight, role), IntegerFormat{}) << to_string(role);
  }
  EXPECT_EQ(
      held_format(eight, model(), {TensorRole::Embedding, -1, -1}, WeightUse::LookedUp, DType::F16),
      (HeldFormat{DType::F16, {}}));
}

TEST(WeightFormats, PartsHaveTheirOwn) {
  const WeightFormats mixed{NumberFormat::INT4, NumberFormat::INT8, NumberFormat::F16,
                            NumberFormat::F32};
  EXPECT_EQ(integers(mixed, TensorRole::Gate, 0).bits, 4);
  EXPECT_EQ(integers(mixed, TensorRole::Gate).bits, 8);
  const auto floats = [&](TensorRole role) {
    return held_format(mixed, model(), {role, 0, -1}, WeightUse::Multiplied, DType::BF16);
  };
  EXPECT_EQ(floats(TensorRole::LmHead), (HeldFormat{DType::F16, {}}));
  EXPECT_EQ(floats(TensorRole::Router), (HeldFormat{DType::F32, {}}));
  EXPECT_EQ(held_format({}, model(), {TensorRole::Q, 0, -1}, WeightUse::Multiplied, DType::BF16),
            (HeldFormat{DType::BF16, {}}));
}

// Whatever slice of k a rank of any plan multiplies with is whole groups of the whole matrix.
TEST(WeightFormats, NoPlanCutsAGroup) {
  const ModelSpec spec = model();
  std::int64_t cut = 0;
  const auto check = [&](const WeightSlice& slice) {
    const std::int64_t group = held_format(weights_in(NumberFormat::INT8), spec, slice.id,
                                           WeightUse::Multiplied, spec.dtype)
                                   .integers.group;
    if (slice.rows.empty() || group == 0) return;
    cut += slice.cols.size() < tensor_info(spec, slice.id).cols ? 1 : 0;
    EXPECT_EQ(slice.cols.begin % group, 0) << to_string(slice.id.role);
    EXPECT_EQ(slice.cols.end % group, 0) << to_string(slice.id.role);
  };
  for (const char* text :
       {"tp=8,ep=1,etp=8", "tp=4,etp=4,ep=1", "tp=2,ep=2,etp=2,dp=2", "tp=4,sp=2,ep=4"}) {
    auto plan = parse_plan_shorthand(text);
    ASSERT_TRUE(plan.ok()) << text;
    ASSERT_TRUE(resolve_layers(*plan, spec.num_layers()).ok());
    const auto context = LoweringContext::make(*plan, spec);
    ASSERT_TRUE(context.ok()) << text << ": " << context.error().message;
    for (std::int64_t rank = 0; rank < plan->world(); ++rank) {
      const RankProgram program = lower_rank(*context, Rank(rank));
      for (const WeightSlice& slice : held_weights(program)) check(slice);
      for (const Program* phase : {&program.prefill, &program.decode}) {
        for (const Step& step : phase->steps) {
          if (const auto* leaves = std::get_if<step::LeafGemm>(&step)) check(leaves->w);
        }
      }
    }
  }
  EXPECT_GT(cut, 0) << "no plan cuts a matrix along k";
}

}  // namespace
}  // namespace pentafold
