#include "plan/lower.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "plan/lower_parts.h"

namespace pentafold {

std::vector<Range> PhaseView::shards(std::int64_t n) const {
  std::vector<Range> out;
  for (std::int64_t t = 0; t < mesh.tp; ++t) out.push_back(tensor_shard(stage, phase, n, t));
  return out;
}

WeightSlice PhaseView::whole(TensorId id) const {
  const TensorInfo info = tensor_info(model(), id);
  return {id, {0, info.rows}, {0, info.cols}};
}

Result<LoweringContext> LoweringContext::make(const Plan& plan, const ModelSpec& model) {
  const std::vector<Error> failures = folding_failures(plan, model);
  if (!failures.empty()) return failures.front();
  LoweringContext context{plan, model, Mesh(plan), {}};
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    PF_ASSIGN(auto placement,
              Placement::build(plan, plan.stages[i],
                               context.mesh.layers(StageId(static_cast<int>(i))), model));
    context.placements.push_back(std::make_shared<const Placement>(std::move(placement)));
  }
  return context;
}

namespace {

void fill_groups(const PhaseView& view, const RankPlace& place, Program& program) {
  const auto member = [&](std::int64_t index) {
    return view.context.mesh.rank_at(place.replica, place.stage, index);
  };
  auto& tensor = program.groups[static_cast<std::size_t>(GroupKind::Tensor)];
  for (std::int64_t t = 0; t < view.mesh.tp; ++t) {
    tensor.push_back(member(phase_index(view.stage, view.phase, {view.coord.d, view.coord.s, t})));
  }
  auto& sequence = program.groups[static_cast<std::size_t>(GroupKind::Sequence)];
  for (std::int64_t s = 0; s < view.mesh.sp; ++s) {
    sequence.push_back(
        member(phase_index(view.stage, view.phase, {view.coord.d, s, view.coord.t})));
  }
  auto& stage = program.groups[static_cast<std::size_t>(GroupKind::Stage)];
  for (std::int64_t i = 0; i < view.stage.ranks(); ++i) stage.push_back(member(i));
  program.self = {view.coord.t, view.coord.s, view.index};
}

void lower_entry(const PhaseView& view, const RankPlace& place, std::vector<Step>& out) {
  if (place.stage.value == 0) {
    step::Embed embed{view.whole({TensorRole::Embedding, -1, -1})};
    embed.table.rows = view.shard(view.model().vocab);
    out.push_back(embed);
    return;
  }
  const auto& stages = view.context.plan.stages;
  const StageId before(place.stage.value - 1);
  step::Recv recv;
  for (const std::int64_t sender :
       pipeline_senders(stages[before.index()], view.stage, view.phase, view.index)) {
    recv.from.push_back(view.context.mesh.rank_at(place.replica, before, sender));
  }
  std::sort(recv.from.begin(), recv.from.end());
  out.push_back(recv);
}

void lower_exit(const PhaseView& view, const RankPlace& place, std::vector<Step>& out) {
  const auto& stages = view.context.plan.stages;
  if (place.stage.index() + 1 == stages.size()) {
    out.push_back(step::Norm{Register::Hidden, Register::Normed,
                             view.whole({TensorRole::FinalNorm, -1, -1})});
    const TensorRole head =
        view.model().tied_embeddings ? TensorRole::Embedding : TensorRole::LmHead;
    step::LmHead lm_head{view.whole({head, -1, -1}), view.shards(view.model().vocab)};
    lm_head.w.rows = view.shard(view.model().vocab);
    out.push_back(lm_head);
    return;
  }
  const StageId next(place.stage.value + 1);
  const StagePlan& target = stages[next.index()];
  step::Send send;
  for (std::int64_t to = 0; to < target.ranks(); ++to) {
    const auto senders = pipeline_senders(view.stage, target, view.phase, to);
    if (std::find(senders.begin(), senders.end(), view.index) != senders.end()) {
      send.to.push_back(view.context.mesh.rank_at(place.replica, next, to));
    }
  }
  out.push_back(send);
}

Program lower_phase(const LoweringContext& context, const RankPlace& place, Phase phase) {
  const StagePlan& stage = context.plan.stages[place.stage.index()];
  const PhaseView view{context,
                       stage,
                       phase,
                       phase_mesh(stage, phase),
                       phase_coord(stage, phase, place.index),
                       place.index,
                       *context.placements[place.stage.index()]};
  Program program;
  program.phase = phase;
  program.coord = view.coord;
  fill_groups(view, place, program);
  lower_entry(view, place, program.steps);
  const Range layers = context.mesh.layers(place.stage);
  for (std::int64_t layer = layers.begin; layer < layers.end; ++layer) {
    lower_attention(view, LayerId(layer), program.steps);
    lower_ffn(view, LayerId(layer), program.steps);
  }
  lower_exit(view, place, program.steps);
  return program;
}

}  // namespace

RankProgram lower_rank(const LoweringContext& context, Rank rank) {
  RankProgram program;
  program.rank = rank;
  program.place = context.mesh.place(rank);
  program.prefill = lower_phase(context, program.place, Phase::Prefill);
  program.decode = lower_phase(context, program.place, Phase::Decode);
  program.placement = context.placements[program.place.stage.index()];
  return program;
}

std::vector<WeightSlice> held_weights(const RankProgram& program) {
  std::map<TensorId, WeightSlice> held;
  for (const Phase phase : {Phase::Prefill, Phase::Decode}) {
    for (const Step& step : program.of(phase).steps) {
      for (const WeightSlice& slice : weights_of(step)) {
        const auto [at, fresh] = held.emplace(slice.id, slice);
        if (fresh) continue;
        at->second.rows = hull(at->second.rows, slice.rows);
        at->second.cols = hull(at->second.cols, slice.cols);
      }
    }
  }
  std::vector<WeightSlice> out;
  out.reserve(held.size());
  for (const auto& [id, slice] : held) out.push_back(slice);
  return out;
}

}  // namespace pentafold
