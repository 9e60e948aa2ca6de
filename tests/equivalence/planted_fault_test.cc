// The equivalence test can fail: planted faults, each of the kind that a real mistake would make,
// change the bits, and the same comparison that the cube makes sees them.
#include <gtest/gtest.h>

#include "support/forwarding_device.h"
#include "support/run_plan.h"
#include "support/tiny_models.h"

namespace pentafold::testing {
namespace {

// Everything as the device inside does it, but leaves are added from the last to the first instead
// of in tree order: mathematically the same sum.
class SwappedReduction final : public ForwardingDevice {
 public:
  using ForwardingDevice::ForwardingDevice;
  void leaf_gemm(const LeafGemmArgs& args) const override {
    const std::int64_t size = args.rows * args.w->n;
    for (std::size_t i = 0; i < args.nodes.size(); ++i) {
      float* sum = args.y + static_cast<std::int64_t>(i) * size;
      std::vector<float> leaf(static_cast<std::size_t>(size));
      for (std::int64_t l = args.nodes[i].end - 1; l >= args.nodes[i].begin; --l) {
        const Range one{l, l + 1};
        const std::int64_t skip = (l - args.nodes.front().begin) * args.leaf_width;
        LeafGemmArgs part = args;
        part.x = {args.x.data + skip, args.x.ld};
        part.k = {args.k.begin + skip, args.k.begin + skip + args.leaf_width};
        part.nodes = {&one, 1};
        part.y = leaf.data();
        inner().leaf_gemm(part);
        if (l + 1 == args.nodes[i].end) {
          std::copy(leaf.begin(), leaf.end(), sum);
        } else {
          inner().add(1, size, {leaf.data(), size}, {sum, size});
        }
      }
    }
  }
};

void edit_experts(RankProgram& program, const std::function<void(step::LocalExpert&)>& edit) {
  for (Program* phase : {&program.prefill, &program.decode}) {
    for (Step& step : phase->steps) {
      if (auto* mlp = std::get_if<step::ExpertMlp>(&step)) {
        for (step::LocalExpert& expert : mlp->experts) edit(expert);
      }
    }
  }
}

const Scenario kScenario{{17, 9, 3}, 3, 7, 8, {}, {}};
const Degrees kDegrees{1, 1, 2, 2, 2, 2};

bool differs(const EngineHooks& hooks) {
  const ModelSpec model = tiny_mixtral();
  const Outcome one = PlanRunner(make_plan({}, model), model).run(kScenario);
  const Plan plan = make_plan(kDegrees, model);
  EXPECT_EQ(PlanRunner(plan, model).run(kScenario), one) << "the plan is sound without the fault";
  return !(PlanRunner(plan, model, "cpu", hooks).run(kScenario) == one);
}

TEST(PlantedFault, SwappedReductionOrderIsSeen) {
  EngineHooks hooks;
  hooks.wrap_device = [](std::unique_ptr<Device> inner) {
    return std::make_unique<SwappedReduction>(std::move(inner));
  };
  EXPECT_TRUE(differs(hooks));
}

TEST(PlantedFault, AnExpertSliceShiftedByOneUnitIsSeen) {
  EngineHooks hooks;
  hooks.edit_program = [](RankProgram& program) {
    if (program.rank.value != 1) return;
    edit_experts(program, [](step::LocalExpert& expert) {
      if (expert.expert.value != 2) return;
      // One hidden unit further for the up projection alone: shapes stay right.
      const std::int64_t shift = expert.up.rows.begin > 0 ? -1 : 1;
      expert.up.rows.begin += shift;
      expert.up.rows.end += shift;
    });
  };
  EXPECT_TRUE(differs(hooks));
}

TEST(PlantedFault, TwoExpertsExchangedOnOneRankAreSeen) {
  EngineHooks hooks;
  hooks.edit_program = [](RankProgram& program) {
    if (program.rank.value != 2) return;
    edit_experts(program, [](step::LocalExpert& expert) {
      for (WeightSlice* slice : {&expert.gate, &expert.up, &expert.down}) slice->id.expert ^= 1;
    });
  };
  EXPECT_TRUE(differs(hooks));
}

}  // namespace
}  // namespace pentafold::testing
