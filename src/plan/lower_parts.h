// The two halves of a layer, as lowering sees them. Internal to plan/lower*.cc.
// Held by plan/lower_test.cc.
#pragma once

#include "plan/lower.h"

namespace pentafold {

// Everything about one rank in one phase that the parts need.
struct PhaseView {
  const LoweringContext& context;
  const StagePlan& stage;
  Phase phase;
  PhaseMesh mesh;
  PhaseCoord coord;
  std::int64_t index = 0;  // within the stage
  const Placement& placement;

  const ModelSpec& model() const { return context.model; }
  Range shard(std::int64_t n) const { return tensor_shard(stage, phase, n, coord.t); }
  std::vector<Range> shards(std::int64_t n) const;  // of all members of the tensor group
  WeightSlice whole(TensorId id) const;
};

void lower_attention(const PhaseView& view, LayerId layer, std::vector<Step>& out);
void lower_ffn(const PhaseView& view, LayerId layer, std::vector<Step>& out);

}  // namespace pentafold
