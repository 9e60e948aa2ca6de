#include "plan/plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace pentafold {
namespace {

const char* to_string(PlacementStyle style) {
  switch (style) {
    case PlacementStyle::Blocked:
      return "blocked";
    case PlacementStyle::Spread:
      return "spread";
    case PlacementStyle::Explicit:
      return "explicit";
  }
  return "?";
}

std::string describe_stage(const StagePlan& stage) {
  std::string text =
      fmt::format("dp{} sp{} tp{} ep{} etp{}", stage.dp, stage.sp, stage.tp, stage.ep, stage.etp);
  if (stage.placement != PlacementStyle::Blocked) {
    text += fmt::format(" {}", to_string(stage.placement));
  }
  return text;
}

}  // namespace

std::int64_t Plan::ranks_per_replica() const {
  std::int64_t ranks = 0;
  for (const StagePlan& stage : stages) ranks += stage.ranks();
  return ranks;
}

// What the run is asked to compute stays (model, weights, capacity, requests, batching); how it is
// spread goes. Limits of one device go too: the single rank holds what the whole fleet held.
Plan one_rank_plan(const Plan& plan, std::int64_t layers) {
  Plan one = plan;
  one.replicas = 1;
  one.microbatches = 1;
  one.kv_blocks = 0;
  one.device_memory_bytes = 0;
  one.stages.assign(1, StagePlan{});
  one.stages.front().layers = layers;
  one.stages.front().line = plan.stages.empty() ? 0 : plan.stages.front().line;
  return one;
}

std::string describe(const Plan& plan) {
  std::string text = fmt::format("pp{}", plan.stages.size());
  const bool alike = std::ranges::all_of(plan.stages, [&](const StagePlan& stage) {
    return describe_stage(stage) == describe_stage(plan.stages.front());
  });
  for (std::size_t begin = 0; begin < plan.stages.size();) {
    const std::string stage = describe_stage(plan.stages[begin]);
    std::size_t end = begin + 1;
    while (end < plan.stages.size() && describe_stage(plan.stages[end]) == stage) ++end;
    if (alike) {
      text += fmt::format(" {}", stage);
    } else {
      text += fmt::format("{} {}*({})", begin == 0 ? "" : " +", end - begin, stage);
    }
    begin = end;
  }
  if (plan.replicas != 1) text += fmt::format(" x{}", plan.replicas);
  return text;
}

}  // namespace pentafold
