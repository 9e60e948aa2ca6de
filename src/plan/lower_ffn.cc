#include "base/check.h"
#include "base/reduction_tree.h"
#include "plan/lower_parts.h"

namespace pentafold {
namespace {

// gate/up -> activation -> down in leaves -> all_reduce: a dense MLP or the shared expert, cut over
// the tensor group. Leaves the sum in Reduced.
struct SharedMlp {
  TensorRole gate, up, down;
  std::int64_t hidden = 0;
  bool bias = false;
};

void lower_mlp(const PhaseView& view, LayerId layer, const SharedMlp& mlp, std::vector<Step>& out) {
  const ModelSpec& model = view.model();
  const std::int64_t leaves = ModelSpec::mlp_leaves(mlp.hidden);
  const std::int64_t leaf_width = mlp.hidden / leaves;
  const Range mine = view.shard(leaves);
  const Range units{mine.begin * leaf_width, mine.end * leaf_width};
  const auto column_parallel = [&](TensorRole role, TensorRole bias, Register reg) {
    step::Gemm gemm{
        Register::Normed, reg, {{role, layer.value, -1}, units, {0, model.d}}, {}, false};
    if (mlp.bias) {
      gemm.bias = {bias, layer.value, -1};
      gemm.has_bias = true;
    }
    out.push_back(gemm);
  };
  if (model.gated_mlp) column_parallel(mlp.gate, TensorRole::GateBias, Register::Gate);
  column_parallel(mlp.up, TensorRole::UpBias, Register::Up);
  out.push_back(step::Activate{units.size(), model.gated_mlp});
  out.push_back(step::LeafGemm{Register::Up,
                               {{mlp.down, layer.value, -1}, {0, model.d}, units},
                               leaves,
                               tree_cover(leaves, mine),
                               leaf_width});
  step::AllReduce reduce;
  reduce.leaves = leaves;
  reduce.width = model.d;
  for (const Range& shard : view.shards(leaves)) {
    reduce.member_nodes.push_back(static_cast<std::int32_t>(tree_cover(leaves, shard).size()));
  }
  if (mlp.bias) {
    reduce.bias = {TensorRole::DownBias, layer.value, -1};
    reduce.has_bias = true;
  }
  out.push_back(std::move(reduce));
}

step::LocalExpert local_expert(const PhaseView& view, LayerId layer, const Placement::Held& held) {
  const ModelSpec& model = view.model();
  const std::int64_t leaves = ModelSpec::mlp_leaves(model.expert_hidden);
  const std::int64_t leaf_width = model.expert_hidden / leaves;
  const Range mine = split(leaves, view.stage.etp, held.shard);
  const Range units{mine.begin * leaf_width, mine.end * leaf_width};
  const auto id = [&](TensorRole role) {
    return TensorId{role, layer.value, static_cast<std::int32_t>(held.expert)};
  };
  step::LocalExpert expert;
  expert.expert = ExpertId(held.expert);
  expert.shard = held.shard;
  if (model.gated_mlp) expert.gate = {id(TensorRole::Gate), units, {0, model.d}};
  expert.up = {id(TensorRole::Up), units, {0, model.d}};
  expert.down = {id(TensorRole::Down), {0, model.d}, units};
  expert.nodes = tree_cover(leaves, mine);
  return expert;
}

void lower_experts(const PhaseView& view, LayerId layer, std::vector<Step>& out) {
  const ModelSpec& model = view.model();
  const std::int64_t leaves = ModelSpec::mlp_leaves(model.expert_hidden);
  out.push_back(step::Gemm{Register::Normed,
                           Register::RouterLogits,
                           view.whole({TensorRole::Router, layer.value, -1}),
                           {},
                           false});
  out.push_back(step::Route{layer});
  if (view.context.plan.capacity_factor) out.push_back(step::Capacity{layer});
  out.push_back(step::Dispatch{layer, model.d});
  step::ExpertMlp mlp{layer, leaves, model.expert_hidden / leaves, {}};
  for (const Placement::Held& held : view.placement.held_by(layer.value, view.index)) {
    mlp.experts.push_back(local_expert(view, layer, held));
  }
  out.push_back(std::move(mlp));
  step::Combine combine{layer, model.d, leaves, {}, tree_cover_all(leaves, view.stage.etp)};
  for (std::int64_t shard = 0; shard < view.stage.etp; ++shard) {
    combine.shard_nodes.push_back(
        static_cast<std::int32_t>(tree_cover(leaves, split(leaves, view.stage.etp, shard)).size()));
  }
  out.push_back(std::move(combine));
  out.push_back(step::GatherSlices{model.d});
  if (model.shared_hidden > 0) {
    lower_mlp(view, layer,
              {TensorRole::SharedGate, TensorRole::SharedUp, TensorRole::SharedDown,
               model.shared_hidden, false},
              out);
    step::AddShared add;
    add.gated = model.shared_gate;
    if (add.gated) add.gate = view.whole({TensorRole::SharedRouter, layer.value, -1});
    out.push_back(add);
  }
  out.push_back(step::Residual{Register::MoeOut});
}

}  // namespace

void lower_ffn(const PhaseView& view, LayerId layer, std::vector<Step>& out) {
  const ModelSpec& model = view.model();
  out.push_back(step::Norm{Register::Hidden, Register::Normed,
                           view.whole({TensorRole::PostNorm, layer.value, -1})});
  if (model.layers[layer.index()].moe) {
    lower_experts(view, layer, out);
    return;
  }
  lower_mlp(
      view, layer,
      {TensorRole::Gate, TensorRole::Up, TensorRole::Down, model.dense_hidden, model.mlp_bias},
      out);
  out.push_back(step::Residual{Register::Reduced});
}

}  // namespace pentafold
