#include "predict/step_pricer.h"

#include <algorithm>

#include "base/check.h"

namespace pentafold {
namespace {

// Part `1 / parts` of a load, rounded up: the fullest microbatch.
GroupLoad part_of(const GroupLoad& load, std::int64_t parts) {
  if (parts == 1) return load;
  GroupLoad out;
  out.decodes = (load.decodes + parts - 1) / parts;
  if (load.decodes > 0) {
    out.decode_context =
        load.decode_context * static_cast<double>(out.decodes) / static_cast<double>(load.decodes);
  }
  out.finished_prompts = (load.finished_prompts + parts - 1) / parts;
  for (const PromptPiece& piece : load.prompts) {
    out.prompts.push_back({piece.start, (piece.tokens + parts - 1) / parts});
  }
  return out;
}

}  // namespace

StepPricer::StepPricer(const StepCost& costs, const Worker& worker)
    : costs_(costs), worker_(worker), stages_(stage_mixes(costs.model(), worker.stage_layers)) {
  for (std::size_t k = 0; k < costs.model().kinds.size(); ++k) {
    peak_share_.push_back(costs.peak_share(k, worker));
  }
}

Cost StepPricer::cost(const StepLoad& load) const {
  CHECK(load.groups.size() == static_cast<std::size_t>(worker_.dp), "one load for each dp group");
  const std::int64_t parts = worker_.pp() > 1 ? std::max<std::int64_t>(worker_.microbatches, 1) : 1;
  std::vector<GroupLoad> groups;
  std::int64_t rows = 0;
  std::int64_t most_rows = 0;
  std::int64_t sampled = 0;
  std::int64_t requests = 0;
  bool prompts = false;
  for (const GroupLoad& group : load.groups) {
    groups.push_back(part_of(group, parts));
    rows += groups.back().rows();
    most_rows = std::max(most_rows, groups.back().rows());
    sampled = std::max(sampled, groups.back().sampled());
    prompts = prompts || !group.prompts.empty();
    requests = std::max(requests, group.decodes + static_cast<std::int64_t>(group.prompts.size()));
  }
  // Of each kind of layer: the slowest group's attention, then the experts of all.
  std::vector<Cost> layer;
  for (std::size_t k = 0; k < peak_share_.size(); ++k) {
    Cost slowest;
    for (const GroupLoad& group : groups) {
      const Cost cost = costs_.tensor(k, worker_, group);
      if (cost.seconds > slowest.seconds) slowest = cost;
    }
    slowest += costs_.experts_of(k, worker_, static_cast<double>(rows),
                                 static_cast<double>(most_rows), peak_share_[k]);
    layer.push_back(slowest);
  }
  PipelineTime times;
  Cost slowest;
  for (const StageMix& mix : stages_) {
    Cost stage;
    for (std::size_t k = 0; k < layer.size(); ++k) {
      if (mix.layers_of_kind[k] > 0) stage += layer[k] * static_cast<double>(mix.layers_of_kind[k]);
    }
    if (mix.last) stage += costs_.logits(worker_, sampled);
    if (!mix.last) stage += costs_.hand_over(worker_, most_rows);
    times.add(stage.seconds, mix.count);
    if (stage.seconds > slowest.seconds) slowest = stage;
  }
  const Cost fixed = costs_.fixed(requests, prompts);
  Cost out = slowest * static_cast<double>(parts);
  out += fixed;
  const double whole = decode_step_seconds(times, parts, fixed.seconds);
  out.add(Bound::Bubble, std::max(0.0, whole - out.seconds));
  return out;
}

double StepPricer::decode_seconds(const StepLoad& first, std::int64_t steps) const {
  StepLoad middle = first;
  for (GroupLoad& group : middle.groups) {
    group.decode_context += static_cast<double>(group.decodes * (steps - 1)) / 2;
  }
  return seconds(middle) * static_cast<double>(steps);
}

}  // namespace pentafold
