// Capacity: what the fullest rank needs on the device that a plan is for, against its memory.
#include "plan/capacity.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "verify/checks.h"

namespace pentafold {
namespace {

double real(std::int64_t value) {
  return static_cast<double>(value);
}

Precision precision_of(const Plan& plan, const ModelShape& model) {
  if (plan.precision) return *plan.precision;
  Precision out = model.stored;
  out.kv = plan.kv.value_or(out.kv);
  out.experts = plan.weights.experts.value_or(out.experts);
  out.linear = plan.weights.linear.value_or(out.linear);
  out.other = plan.weights.other.value_or(out.other);
  return out;
}

// The plan as one of its stages sees it: stages with other degrees have a worker of their own.
Worker worker_of_stage(const Plan& plan, const ModelShape& model, const StagePlan& stage) {
  Worker worker;
  for (const StagePlan& each : plan.stages) worker.stage_layers.push_back(each.layers);
  worker.dp = stage.dp;
  worker.sp = stage.sp;
  worker.tp = stage.tp;
  worker.ep = stage.ep;
  worker.etp = stage.etp;
  worker.microbatches = plan.microbatches;
  worker.chunk = plan.prefill_chunk;
  worker.batch = (plan.max_batch + stage.dp - 1) / stage.dp;
  worker.precision = precision_of(plan, model);
  return worker;
}

// One expert's shard in one layer.
double slot_bytes(const LayerShape& kind, const Worker& worker) {
  double bytes = 0;
  for (const WeightGroup& group : kind.weights) {
    if (group.split != Split::Experts) continue;
    bytes += real(group.params) / real(kind.ffn.experts) / real(worker.etp) *
             bytes_per_value(worker.precision.of(group.part));
  }
  return bytes;
}

// What the fullest rank holds of experts by the table, above what stage_bytes assumes: even shares.
double placement_excess(const ModelShape& model, const Worker& worker, const StagePlan& stage,
                        Range layers, const Placement& placement) {
  std::vector<double> held(static_cast<std::size_t>(stage.ranks()), 0.0);
  double assumed = 0;
  for (std::int64_t layer = layers.begin; layer < layers.end; ++layer) {
    const LayerShape& kind = model.layer(layer);
    if (kind.ffn.experts == 0) continue;
    const double slot = slot_bytes(kind, worker);
    assumed += slot * real(expert_slots(kind.ffn.experts, worker));
    for (std::int64_t expert = 0; expert < kind.ffn.experts; ++expert) {
      for (const ExpertCopy& copy : placement.copies(layer, expert)) {
        for (const std::int32_t rank : copy.ranks) held[static_cast<std::size_t>(rank)] += slot;
      }
    }
  }
  return *std::ranges::max_element(held) - assumed;
}

// `blocks` of the cache for a dp group, shared out over its batch as evenly as can be: windows and
// states are per sequence, and a sequence takes whole blocks.
RankBytes bytes_with_blocks(const ModelShape& model, const Worker& worker, std::int64_t stage,
                            double blocks) {
  const double each = blocks / real(worker.batch);
  const auto fewer = static_cast<std::int64_t>(each);
  RankBytes bytes = stage_bytes(model, worker, stage, fewer * kKvTokensPerBlock, 1.0);
  const double more_kv = stage_bytes(model, worker, stage, (fewer + 1) * kKvTokensPerBlock, 1.0).kv;
  bytes.kv += (more_kv - bytes.kv) * (each - real(fewer));
  return bytes;
}

const char* remedy(const RankBytes& use) {
  const double working = use.activations + use.buffers;
  if (use.weights >= use.kv && use.weights >= working) {
    return "cut the weights over more devices (ep, tp or pp), or choose a smaller precision";
  }
  if (use.kv >= working) {
    return "lower kv_blocks, cut the KV heads and layers (tp, sp or pp), or use kv: fp8";
  }
  return "lower prefill_chunk or max_batch, or use more microbatches";
}

}  // namespace

void check_capacity(const Plan& plan, const ModelShape& model, const Placements& placements,
                    Verdict& verdict, Findings& findings) {
  verdict.kv_blocks = planned_kv_blocks(plan);
  const Mesh mesh(plan);
  RankBytes most;
  std::size_t fullest = 0;
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const StagePlan& stage = plan.stages[i];
    const auto id = static_cast<std::int64_t>(i);
    const Worker worker = worker_of_stage(plan, model, stage);
    RankBytes here = bytes_with_blocks(
        model, worker, id, real(verdict.kv_blocks) * real(schedule_groups(plan) / stage.dp));
    if (verdict.kv_blocks == 0) here.kv = 0;
    if (stage.placement != PlacementStyle::Blocked) {
      here.weights +=
          placement_excess(model, worker, stage, mesh.layers(StageId(id)), *placements[i]);
    }
    if (i > 0 && here.total() <= most.total()) continue;
    most = here;
    fullest = i;
  }
  verdict.device_bytes = most;
  const double limit = real(plan.device_memory_bytes);
  if (limit == 0 || most.total() <= limit) return;
  findings.add(
      "fit", StageId(static_cast<std::int64_t>(fullest)),
      fmt::format("the fullest rank of stage {} needs {} (weights {}, KV {}, activations {}, "
                  "buffers {}, runtime {}), {} has {}: {} too little; {}",
                  fullest, format_bytes(most.total()), format_bytes(most.weights),
                  format_bytes(most.kv), format_bytes(most.activations), format_bytes(most.buffers),
                  format_bytes(most.reserve), plan.device.empty() ? "a device" : plan.device,
                  format_bytes(limit), format_bytes(most.total() - limit), remedy(most)),
      ErrorCode::OutOfMemory);
}

}  // namespace pentafold
