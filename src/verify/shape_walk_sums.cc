// The steps of a ShapeWalk that sum in trees: sharded contractions and experts.
#include <fmt/format.h>

#include <algorithm>

#include "base/reduction_tree.h"
#include "verify/shape_walk.h"

namespace pentafold {
namespace {

std::string expect(bool holds, const char* otherwise) {
  return holds ? "" : otherwise;
}

// The subtrees of the leaves that columns [cols) are; nothing when they cut a leaf.
std::optional<std::vector<Range>> nodes_of(std::int64_t leaves, std::int64_t leaf_width,
                                           Range cols) {
  const bool whole = leaf_width > 0 && cols.begin >= 0 && cols.begin % leaf_width == 0 &&
                     cols.end % leaf_width == 0 && cols.end / leaf_width <= leaves;
  if (!whole || cols.empty()) return std::nullopt;
  return tree_cover(leaves, {cols.begin / leaf_width, cols.end / leaf_width});
}

}  // namespace

std::string ShapeWalk::operator()(const step::LeafGemm& s) {
  const TensorInfo info = tensor_info(model_, s.w.id);
  if (s.leaves * s.leaf_width != info.cols) return "its leaves are not the whole contraction";
  if (nodes_of(s.leaves, s.leaf_width, s.w.cols) != s.nodes) {
    return "its subtrees are not the cover of its leaves";
  }
  const bool activated = s.in != Register::Up || at(s.in).activations == 1;
  sums_ = Sums{s.leaves, s.nodes};
  std::string wrong = expect(activated, "sums hidden units that had no activation");
  if (wrong.empty()) wrong = read(s.in, s.w.cols.size());
  if (wrong.empty()) wrong = write(Register::Partial, s.w.rows.size());
  return wrong;
}

std::string ShapeWalk::operator()(const step::AllReduce& s) {
  std::string wrong = read(Register::Partial, s.width);
  if (!wrong.empty()) return wrong;
  const std::int64_t parts = members(GroupKind::Tensor);
  if (s.group != GroupKind::Tensor || static_cast<std::int64_t>(s.member_nodes.size()) != parts) {
    return "it sums over another number of ranks than its group has";
  }
  if (!sums_ || sums_->leaves != s.leaves) return "it finishes another tree than was begun";
  for (std::int64_t m = 0; m < parts; ++m) {
    const std::vector<Range> nodes = tree_cover(s.leaves, split(s.leaves, parts, m));
    if (static_cast<std::size_t>(s.member_nodes[static_cast<std::size_t>(m)]) != nodes.size()) {
      return fmt::format("it expects {} subtrees of member {}, which brings {}",
                         s.member_nodes[static_cast<std::size_t>(m)], m, nodes.size());
    }
    if (m == self(GroupKind::Tensor) && nodes != sums_->nodes) {
      return "its own subtrees are not its share of the tree";
    }
  }
  sums_.reset();
  return write(Register::Reduced, s.width);
}

// Experts of a layer go through their steps in this order, within the layer at hand.
std::string ShapeWalk::advance_experts(LayerId layer, int from, int to) {
  const bool order = experts_.done == from && (from == 0 || experts_.layer == layer.value);
  const bool here = layer.value == next_layer_ - 1;
  experts_ = {layer.value, to};
  return expect(order && here, "a step of the experts is missing before it");
}

std::string ShapeWalk::operator()(const step::Route& s) {
  const std::string wrong = read(Register::RouterLogits, model_.experts);
  return wrong.empty() ? advance_experts(s.layer, 0, 1) : wrong;
}

std::string ShapeWalk::operator()(const step::Capacity& s) {
  if (!judged_.context.plan.capacity_factor) return "the plan has no capacity";
  return advance_experts(s.layer, 1, 2);
}

std::string ShapeWalk::operator()(const step::Dispatch& s) {
  std::string wrong = read(Register::Normed, s.width);
  if (!wrong.empty()) return wrong;
  return advance_experts(s.layer, judged_.context.plan.capacity_factor ? 2 : 1, 3);
}

std::string ShapeWalk::local_expert(const step::ExpertMlp& s,
                                    const step::LocalExpert& expert) const {
  const std::int64_t hidden = expert.up.rows.size();
  const bool gate = !model_.gated_mlp ||
                    (expert.gate.rows == expert.up.rows && expert.gate.cols == Range{0, model_.d});
  const bool widths = expert.up.cols == Range{0, model_.d} && expert.down.rows == expert.up.cols &&
                      expert.down.cols == expert.up.rows && hidden > 0;
  const bool same = [&] {
    for (const WeightSlice* slice : {&expert.up, &expert.down}) {
      if (slice->id.layer != s.layer.value || slice->id.expert != expert.expert.value) return false;
    }
    return true;
  }();
  if (!same) return fmt::format("expert {} has weights of another one", expert.expert.value);
  if (!gate || !widths) {
    return fmt::format("the matrices of expert {} do not fit each other", expert.expert.value);
  }
  if (nodes_of(s.leaves, s.leaf_width, expert.down.cols) != expert.nodes) {
    return fmt::format("the subtrees of expert {} are not the cover of its leaves",
                       expert.expert.value);
  }
  return {};
}

// Tokens come for every expert that the placement puts here, so each must be ready.
std::string ShapeWalk::operator()(const step::ExpertMlp& s) {
  if (s.leaves * s.leaf_width != model_.expert_hidden) {
    return "its leaves are not the whole contraction";
  }
  const std::int64_t etp = judged_.stage(rank_).etp;
  std::map<std::int64_t, const step::LocalExpert*> ready;
  for (const step::LocalExpert& expert : s.experts) ready[expert.expert.value] = &expert;
  const auto& placement = *judged_.context.placements[rank_.place.stage.index()];
  for (const Placement::Held& held : placement.held_by(s.layer.value, rank_.place.index)) {
    const auto at = ready.find(held.expert);
    if (at == ready.end()) {
      return fmt::format("expert {} lives here by the placement, and is missing", held.expert);
    }
    const step::LocalExpert& expert = *at->second;
    const Range leaves = split(s.leaves, etp, held.shard);
    const Range units{leaves.begin * s.leaf_width, leaves.end * s.leaf_width};
    if (expert.shard != held.shard || expert.down.cols != units) {
      return fmt::format("expert {} is another shard than the placement says", held.expert);
    }
    std::string wrong = local_expert(s, expert);
    if (!wrong.empty()) return wrong;
    ready.erase(at);
  }
  if (!ready.empty()) {
    return fmt::format("expert {} does not live here by the placement", ready.begin()->first);
  }
  return advance_experts(s.layer, 3, 4);
}

std::string ShapeWalk::operator()(const step::Combine& s) {
  const std::int64_t etp = judged_.stage(rank_).etp;
  const std::int64_t leaves = ModelSpec::mlp_leaves(model_.expert_hidden);
  if (s.leaves != leaves || s.nodes != tree_cover_all(leaves, etp)) {
    return "its subtrees do not make the experts' tree";
  }
  bool shards = static_cast<std::int64_t>(s.shard_nodes.size()) == etp;
  for (std::int64_t i = 0; shards && i < etp; ++i) {
    shards = static_cast<std::size_t>(s.shard_nodes[static_cast<std::size_t>(i)]) ==
             tree_cover(leaves, split(leaves, etp, i)).size();
  }
  if (!shards) return "it expects other subtrees than the shards bring";
  if (s.width != model_.d) return "its outputs are not d wide";
  const std::string wrong = advance_experts(s.layer, 4, 0);
  return wrong.empty() ? write(Register::Routed, s.width) : wrong;
}

std::string ShapeWalk::operator()(const step::GatherSlices& s) {
  const std::string wrong = read(Register::Routed, s.width);
  return wrong.empty() ? write(Register::MoeOut, s.width) : wrong;
}

std::string ShapeWalk::operator()(const step::AddShared& s) {
  std::string wrong = expect(s.gated == model_.shared_gate, "the model's shared expert differs");
  if (wrong.empty()) wrong = read(Register::Reduced, model_.d);
  if (wrong.empty()) wrong = peek(Register::MoeOut, model_.d);
  if (wrong.empty() && s.gated) wrong = read(Register::Normed, s.gate.cols.size());
  return wrong;
}

}  // namespace pentafold
