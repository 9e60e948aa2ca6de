#include "plan/mesh.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace pentafold {

const char* to_string(Phase phase) {
  return phase == Phase::Prefill ? "prefill" : "decode";
}

PhaseMesh phase_mesh(const StagePlan& stage, Phase phase) {
  if (phase == Phase::Prefill) return {stage.dp, stage.sp, stage.tp};
  return {stage.dp, 1, stage.tp * stage.sp};
}

PhaseCoord phase_coord(const StagePlan& stage, Phase phase, std::int64_t index) {
  const std::int64_t per_group = stage.tp * stage.sp;
  PhaseCoord coord;
  coord.d = index / per_group;
  const std::int64_t inner = index % per_group;
  if (phase == Phase::Prefill) {
    coord.t = inner / stage.sp;
    coord.s = inner % stage.sp;
  } else {
    coord.t = inner;
  }
  return coord;
}

std::int64_t phase_index(const StagePlan& stage, Phase phase, PhaseCoord coord) {
  const PhaseMesh mesh = phase_mesh(stage, phase);
  return (coord.d * mesh.tp + coord.t) * mesh.sp + coord.s;
}

Range tensor_shard(const StagePlan& stage, Phase phase, std::int64_t n, std::int64_t t) {
  if (phase == Phase::Prefill) return split(n, stage.tp, t);
  return split(split(n, stage.tp, t / stage.sp), stage.sp, t % stage.sp);
}

Range kv_heads_of(const ModelSpec& model, Range q) {
  const std::int64_t group = model.heads / model.kv_heads;
  return {q.begin / group, (q.end - 1) / group + 1};
}

Mesh::Mesh(const Plan& plan) {
  first_layer_.push_back(0);
  for (const StagePlan& stage : plan.stages) {
    first_rank_.push_back(per_replica_);
    per_replica_ += stage.ranks();
    first_layer_.push_back(first_layer_.back() + stage.layers);
  }
  world_ = per_replica_ * plan.replicas;
}

RankPlace Mesh::place(Rank rank) const {
  CHECK(rank.value >= 0 && rank.value < world_);
  const std::int64_t within = rank.value % per_replica_;
  const auto next = std::upper_bound(first_rank_.begin(), first_rank_.end(), within);
  const std::int64_t stage = next - first_rank_.begin() - 1;
  return {rank.value / per_replica_, StageId(stage),
          within - first_rank_[static_cast<std::size_t>(stage)]};
}

Rank Mesh::rank_at(std::int64_t replica, StageId stage, std::int64_t index) const {
  return Rank(replica * per_replica_ + first_rank_[stage.index()] + index);
}

Range Mesh::layers(StageId stage) const {
  return {first_layer_[stage.index()], first_layer_[stage.index() + 1]};
}

std::int64_t Mesh::stage_of_layer(std::int64_t layer) const {
  const auto next = std::upper_bound(first_layer_.begin(), first_layer_.end(), layer);
  return next - first_layer_.begin() - 1;
}

std::vector<std::int64_t> pipeline_senders(const StagePlan& from, const StagePlan& to, Phase phase,
                                           std::int64_t to_index) {
  const PhaseMesh source = phase_mesh(from, phase);
  const PhaseMesh target = phase_mesh(to, phase);
  const PhaseCoord me = phase_coord(to, phase, to_index);
  const bool same_dp = source.dp == target.dp;
  const bool same_rows = same_dp && source.sp == target.sp;
  std::vector<std::int64_t> senders;
  for (std::int64_t d = 0; d < source.dp; ++d) {
    if (same_dp && d != me.d) continue;
    for (std::int64_t s = 0; s < source.sp; ++s) {
      if (same_rows && s != me.s) continue;
      // Spread the load over the holders of the same rows.
      senders.push_back(phase_index(from, phase, {d, s, me.t % source.tp}));
    }
  }
  return senders;
}

namespace {

// What of a model the degrees must divide; in this order it is complained about.
struct Divided {
  std::int64_t n = 0;
  const char* what = "";
  friend bool operator==(const Divided&, const Divided&) = default;
};
struct LayerExperts {
  std::int64_t experts = 0;  // 0: a layer without
  std::int64_t hidden = 0;
  friend bool operator==(const LayerExperts&, const LayerExperts&) = default;
};
struct FoldedModel {
  std::vector<Divided> by_tensor_ranks;
  std::int64_t vocab = 0;
  std::vector<LayerExperts> layers;

  void divide(std::int64_t n, const char* what) { add_once(by_tensor_ranks, Divided{n, what}); }

  template <class T>
  static void add_once(std::vector<T>& list, const T& value) {
    if (std::ranges::find(list, value) == list.end()) list.push_back(value);
  }
};

constexpr const char* kSharedLeaves = "canonical leaves of the shared expert";
constexpr const char* kDenseLeaves = "canonical leaves of the dense MLP";

FoldedModel folded(const ModelSpec& model) {
  FoldedModel out;
  out.vocab = model.vocab;
  out.divide(model.heads, "attention heads");
  if (model.shared_hidden > 0) {
    out.divide(ModelSpec::mlp_leaves(model.shared_hidden), kSharedLeaves);
  }
  for (const LayerSpec& layer : model.layers) {
    if (!layer.moe && model.dense_hidden > 0) {
      out.divide(ModelSpec::mlp_leaves(model.dense_hidden), kDenseLeaves);
    }
    out.layers.push_back(layer.moe ? LayerExperts{model.experts, model.expert_hidden}
                                   : LayerExperts{});
  }
  return out;
}

const char* heads_of(MixerKind kind) {
  switch (kind) {
    case MixerKind::Linear:
      return "heads of linear attention";
    case MixerKind::StateSpace:
      return "heads of the state space layers";
    case MixerKind::Attention:
    case MixerKind::Latent:
    case MixerKind::None:
      break;
  }
  return "attention heads";
}

FoldedModel folded(const ModelShape& model) {
  FoldedModel out;
  out.vocab = model.vocab;
  for (const LayerShape& kind : model.kinds) {
    if (kind.mixer.kind != MixerKind::None && kind.mixer.heads > 0) {
      out.divide(kind.mixer.heads, heads_of(kind.mixer.kind));
    }
  }
  for (const LayerShape& kind : model.kinds) {
    if (kind.ffn.shared_hidden > 0) {
      out.divide(ModelSpec::mlp_leaves(kind.ffn.shared_hidden), kSharedLeaves);
    }
    if (kind.ffn.dense_hidden > 0) {
      out.divide(ModelSpec::mlp_leaves(kind.ffn.dense_hidden), kDenseLeaves);
    }
  }
  for (std::int64_t l = 0; l < model.num_layers(); ++l) {
    const FfnShape& ffn = model.layer(l).ffn;
    out.layers.push_back(ffn.experts > 0 ? LayerExperts{ffn.experts, ffn.expert_hidden}
                                         : LayerExperts{});
  }
  return out;
}

class FoldingJudge {
 public:
  FoldingJudge(const Plan& plan, const FoldedModel& model) : plan_(plan), model_(model) {}

  std::vector<Error> judge() {
    std::int64_t layers = 0;
    for (std::size_t i = 0; i < plan_.stages.size(); ++i) {
      layers += plan_.stages[i].layers;
    }
    if (plan_.stages.empty()) fail(0, "the plan has no pipeline stage");
    if (layers != static_cast<std::int64_t>(model_.layers.size())) {
      fail(0, fmt::format("the stages hold {} layers in all, the model has {}; stage layer counts "
                          "must sum to {}",
                          layers, model_.layers.size(), model_.layers.size()));
    }
    std::int64_t first = 0;
    for (std::size_t i = 0; i < plan_.stages.size(); ++i) {
      const StagePlan& stage = plan_.stages[i];
      judge_attention(i, stage);
      judge_experts(i, stage, first);
      first += stage.layers;
    }
    return std::move(failures_);
  }

 private:
  void fail(int line, std::string sentence) {
    failures_.push_back(
        make_error(ErrorCode::InfeasiblePlan, std::move(sentence), plan_.file, line));
  }

  void must_divide(std::size_t i, const StagePlan& stage, std::int64_t n, const char* what) {
    const std::int64_t degree = stage.tp * stage.sp;
    if (n % degree == 0) return;
    std::string legal;
    for (std::int64_t c = 1; c <= std::min<std::int64_t>(n, 64); ++c) {
      if (n % c == 0) legal += fmt::format("{}{}", legal.empty() ? "" : ", ", c);
    }
    const std::string degree_name =
        stage.sp == 1 ? fmt::format("tp = {}", stage.tp)
                      : fmt::format("tp x sp = {} x {} = {}", stage.tp, stage.sp, degree);
    fail(stage.line, fmt::format("stage {}: {} does not divide {} {}; possible degrees: {}", i,
                                 degree_name, n, what, legal));
  }

  void judge_attention(std::size_t i, const StagePlan& stage) {
    if (stage.layers < 1) fail(stage.line, fmt::format("stage {} holds no layer; give it one", i));
    for (const Divided& part : model_.by_tensor_ranks) must_divide(i, stage, part.n, part.what);
    if (model_.vocab < stage.tp * stage.sp) {
      fail(stage.line, fmt::format("stage {}: tp x sp = {} is more than the vocabulary of {}", i,
                                   stage.tp * stage.sp, model_.vocab));
    }
  }

  void judge_experts(std::size_t i, const StagePlan& stage, std::int64_t first_layer) {
    const std::int64_t ranks = stage.ranks();
    if (ranks % (stage.ep * stage.etp) != 0) {
      fail(stage.line,
           fmt::format("stage {}: the expert mesh ep x etp = {} x {} = {} does not fold onto the "
                       "attention mesh dp x sp x tp = {} x {} x {} = {}; the first must divide the "
                       "second",
                       i, stage.ep, stage.etp, stage.ep * stage.etp, stage.dp, stage.sp, stage.tp,
                       ranks));
      return;
    }
    std::vector<LayerExperts> kinds;
    std::int64_t pairs = 0;
    std::int64_t moe_layers = 0;
    const auto end = std::min<std::int64_t>(first_layer + stage.layers,
                                            static_cast<std::int64_t>(model_.layers.size()));
    for (std::int64_t l = first_layer; l < end; ++l) {
      const LayerExperts& layer = model_.layers[static_cast<std::size_t>(l)];
      if (layer.experts == 0) continue;
      FoldedModel::add_once(kinds, layer);
      pairs += layer.experts;
      ++moe_layers;
    }
    for (const LayerExperts& kind : kinds) judge_expert_kind(i, stage, kind);
    if (pairs > 0 && stage.placement == PlacementStyle::Spread && stage.ep > pairs) {
      fail(stage.line, fmt::format("stage {}: ep = {} groups for {} layers x {} experts = {} "
                                   "(layer, expert) pairs leaves groups empty",
                                   i, stage.ep, moe_layers, pairs / moe_layers, pairs));
    }
  }

  void judge_expert_kind(std::size_t i, const StagePlan& stage, const LayerExperts& kind) {
    const std::int64_t leaves = ModelSpec::mlp_leaves(kind.hidden);
    if (leaves % stage.etp != 0) {
      fail(stage.line, fmt::format("stage {}: etp = {} does not divide the {} canonical leaves of "
                                   "an expert's hidden width {}",
                                   i, stage.etp, leaves, kind.hidden));
    }
    if (stage.placement == PlacementStyle::Blocked && kind.experts % stage.ep != 0) {
      fail(stage.line, fmt::format("stage {}: ep = {} does not divide {} experts; use a divisor, "
                                   "or placement: spread",
                                   i, stage.ep, kind.experts));
    }
  }

  const Plan& plan_;
  const FoldedModel& model_;
  std::vector<Error> failures_;
};

}  // namespace

std::vector<Error> folding_failures(const Plan& plan, const ModelSpec& model) {
  return FoldingJudge(plan, folded(model)).judge();
}

std::vector<Error> folding_failures(const Plan& plan, const ModelShape& model) {
  return FoldingJudge(plan, folded(model)).judge();
}

}  // namespace pentafold
