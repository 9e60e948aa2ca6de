#include "predict/step_layout.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "base/dtype.h"
#include "plan/memory.h"

namespace pentafold {
namespace {

void add_work(std::vector<ThreadAction>& actions, double seconds) {
  if (seconds <= 0) return;
  if (!actions.empty() && actions.back().kind == ThreadAction::Kind::Work) {
    actions.back().work_s += seconds;
  } else {
    actions.push_back({ThreadAction::Kind::Work, seconds, 0, 0});
  }
}

std::vector<RowRun> runs_of_group(const StepBatch& batch, Range segments, std::int64_t dp,
                                  std::int64_t d) {
  std::vector<RowRun> out;
  for (std::int64_t i = segments.begin; i < segments.end; ++i) {
    const Segment& segment = batch.segments[static_cast<std::size_t>(i)];
    if (segment.group % dp != d) continue;
    out.push_back({segment.start, std::ssize(segment.tokens), segment.samples});
  }
  return out;
}

}  // namespace

StepLayout::StepLayout(const RunToPredict& run, const LoweringContext& lowering)
    : run_(run), lowering_(lowering) {
  for (std::int64_t r = 0; r < run.plan.world(); ++r) {
    programs_.push_back(lower_rank(lowering, Rank(r)));
  }
  // Not every expert is read in every step, but before one is read again most others are. Of the
  // embedding only a few rows are looked up.
  const ModelSpec& model = run.model;
  for (const TensorInfo& tensor : model_tensors(model)) {
    if (tensor.id.role == TensorRole::Embedding && !model.tied_embeddings) continue;
    const HeldFormat format =
        held_format(run.plan.weights, model, tensor.id, WeightUse::Multiplied, model.dtype);
    weight_bytes_ +=
        static_cast<double>(tensor.count()) * static_cast<double>(size_of(format.dtype));
  }
}

StepLayout::Draws StepLayout::draw(const StepBatch& batch, Range segments, Phase phase) const {
  Draws out;
  for (std::size_t s = 0; s < run_.plan.stages.size(); ++s) {
    const StagePlan& stage = run_.plan.stages[s];
    const PhaseMesh mesh = phase_mesh(stage, phase);
    std::vector<RowPlace> rows;
    for (std::int64_t d = 0; d < stage.dp; ++d) {
      const auto runs = runs_of_group(batch, segments, stage.dp, d);
      std::vector<RowPlace> group;
      for (std::int64_t i = segments.begin; i < segments.end; ++i) {
        const Segment& segment = batch.segments[static_cast<std::size_t>(i)];
        if (segment.group % stage.dp != d) continue;
        for (std::int64_t t = 0; t < std::ssize(segment.tokens); ++t) {
          group.push_back({segment.request.value, segment.start + t, 0});
        }
      }
      const Range all{0, std::ssize(group)};
      for (std::int64_t sp = 0; sp < mesh.sp; ++sp) {
        for (std::int64_t t = 0; t < mesh.tp; ++t) {
          const Range slice = split(split(all, mesh.sp, sp), mesh.tp, t);
          for (std::int64_t i = slice.begin; i < slice.end; ++i) {
            group[static_cast<std::size_t>(i)].home = phase_index(stage, phase, {d, sp, t});
          }
        }
      }
      rows.insert(rows.end(), group.begin(), group.end());
    }
    const StageId id(static_cast<int>(s));
    auto& layers = out.emplace_back(run_.model.layers.size());
    const Range mine = lowering_.mesh.layers(id);
    for (std::int64_t layer = mine.begin; layer < mine.end; ++layer) {
      const auto at = static_cast<std::size_t>(layer);
      if (!run_.model.layers[at].moe) continue;
      layers[at] = draw_layer(lowering_, id, layer, rows, run_.weights);
    }
  }
  return out;
}

RankLoad StepLayout::load_of(const StepBatch& batch, Range segments, const RankProgram& program,
                             const Draws& draws) const {
  const StagePlan& stage = run_.plan.stages[program.place.stage.index()];
  const PhaseMesh mesh = phase_mesh(stage, batch.phase);
  const PhaseCoord coord = program.of(batch.phase).coord;
  RankLoad load;
  load.group = runs_of_group(batch, segments, stage.dp, coord.d);
  const Range all{0, load.rows(RowSet::Group)};
  load.local = split(all, mesh.sp, coord.s);
  load.slice = split(load.local, mesh.tp, coord.t);
  for (const auto& ranks : draws[program.place.stage.index()]) {
    load.experts.push_back(ranks.empty() ? nullptr
                                         : &ranks[static_cast<std::size_t>(program.place.index)]);
  }
  return load;
}

double StepLayout::working_set(const StepBatch& batch) const {
  double cached = 0;
  for (const Segment& segment : batch.segments) {
    cached += static_cast<double>(segment.start + std::ssize(segment.tokens));
  }
  const std::int64_t head_bytes = 2 * kv_tile_bytes(run_kv_type(run_.plan), 1, run_.model.head_dim);
  return weight_bytes_ +
         cached * static_cast<double>(head_bytes * run_.model.kv_heads * run_.model.num_layers());
}

std::int64_t StepLayout::ranks_computing(const StepBatch& batch) const {
  std::vector<std::int64_t> of_stage;
  for (const StagePlan& stage : run_.plan.stages) of_stage.push_back(stage.ranks());
  std::ranges::sort(of_stage, std::greater<>());
  // A microbatch is in one stage at a time.
  of_stage.resize(std::min(of_stage.size(), batch.microbatches.size()));
  return run_.plan.replicas * std::accumulate(of_stage.begin(), of_stage.end(), std::int64_t{0});
}

std::int64_t StepLayout::group_number(const std::vector<Rank>& members) {
  const auto [at, fresh] = groups_.emplace(members, std::ssize(group_sizes_));
  if (fresh) group_sizes_.push_back(std::ssize(members));
  return at->second;
}

void StepLayout::add_step(const Step& step, const WorkContext& context,
                          std::vector<ThreadAction>& actions, OperatorReport& report) {
  const MachineSpec& machine = run_.machine;
  const StepWork work = work_of(step, context);
  const StepSeconds seconds = seconds_of(step, work, machine);
  ++report.calls;
  report.seconds += seconds.before + seconds.after;
  const bool crowded = computing_ > machine.cores;
  const MeasuredCurve& delay = crowded ? machine.exchange_wake : machine.exchange_delay;
  // One meeting of two, of which an exchange has two.
  const double hand_over_s = machine.exchange_work.at(2) / 2;
  const double message_s = crowded ? machine.exchange_wake.at(2) / 2 : machine.message.call_s;
  const double delay_s = std::max(message_s - hand_over_s, 0.0);
  if (const auto* recv = std::get_if<step::Recv>(&step)) {
    for (const Rank from : recv->from) {
      actions.push_back({ThreadAction::Kind::Receive, hand_over_s, 0, from.value});
    }
  }
  add_work(actions, seconds.before);
  if (const auto* send = std::get_if<step::Send>(&step)) {
    for (const Rank to : send->to) {
      actions.push_back({ThreadAction::Kind::Send, 0, delay_s, to.value});
    }
  }
  const auto& members = context.program.group(work.group);
  const auto size = static_cast<double>(members.size());
  for (int i = 0; i < work.exchanges; ++i) {
    actions.push_back({ThreadAction::Kind::Exchange, machine.exchange_work.at(size), delay.at(size),
                       group_number(members)});
  }
  add_work(actions, seconds.after);
}

void StepLayout::add(std::int64_t replica, const StepBatch& batch, ThreadPlan& threads,
                     OperatorTimes& operators) {
  std::vector<Draws> draws;
  for (const Range& segments : batch.microbatches) {
    draws.push_back(draw(batch, segments, batch.phase));
  }
  const double bytes = working_set(batch);
  computing_ = ranks_computing(batch);
  const ProductTable& product =
      computing_ == 1 ? run_.machine.product_alone : run_.machine.product_shared;
  auto& times = operators[static_cast<std::size_t>(batch.phase)];
  for (const RankProgram& program : programs_) {
    if (program.place.replica != replica) continue;
    const StagePlan& stage = run_.plan.stages[program.place.stage.index()];
    auto& actions = threads.actions[program.rank.index()];
    add_work(actions, run_.machine.step.unit_s);
    for (std::size_t m = 0; m < draws.size(); ++m) {
      RankLoad load = load_of(batch, batch.microbatches[m], program, draws[m]);
      load.working_set = bytes;
      load.sharers = run_.plan.replicas * stage.dp * phase_mesh(stage, batch.phase).sp;
      const Program& steps = program.of(batch.phase);
      const WorkContext context{run_.model, run_.machine, product,
                                steps,      load,         run_kv_type(run_.plan)};
      for (const Step& step : steps.steps) {
        add_step(step, context, actions, times[step_name(step)]);
      }
    }
  }
  threads.group_sizes = group_sizes_;
}

}  // namespace pentafold
