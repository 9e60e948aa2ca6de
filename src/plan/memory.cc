#include "plan/memory.h"

#include <fmt/format.h>

#include <numeric>

#include "base/units.h"
#include "plan/memory_parts.h"

namespace pentafold {
namespace {

// Outputs that lie beside each other in a packed matrix (kernels/weight_matrix.h).
constexpr std::int64_t kPanelOutputs = 16;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

template <class T>
bool has_step(const RankProgram& program) {
  const auto is = [](const Step& step) { return std::holds_alternative<T>(step); };
  return std::any_of(program.prefill.steps.begin(), program.prefill.steps.end(), is);
}

std::int64_t packed_bytes(const WeightSlice& slice, DType dtype) {
  const std::int64_t outputs = ceil_div(slice.rows.size(), kPanelOutputs) * kPanelOutputs;
  return capped_product({outputs, slice.cols.size(), static_cast<std::int64_t>(size_of(dtype))});
}

}  // namespace

std::int64_t schedule_groups(const Plan& plan) {
  std::int64_t groups = 1;
  for (const StagePlan& stage : plan.stages) {
    groups = capped_product({groups, stage.dp / std::gcd(groups, stage.dp)});
  }
  return groups;
}

std::int64_t kv_blocks_for(std::int64_t tokens) {
  return ceil_div(tokens, kKvTokensPerBlock);
}

std::int64_t planned_kv_blocks(const Plan& plan) {
  if (plan.kv_blocks > 0 || plan.requests.requests == 0) return plan.kv_blocks;
  // Dealt to replicas, then to groups, in turn; all running at once.
  const std::int64_t in_group =
      ceil_div(ceil_div(plan.requests.requests, plan.replicas), schedule_groups(plan));
  const std::int64_t tokens = capped_sum({plan.requests.prompt_tokens, plan.requests.max_tokens});
  return capped_product({in_group, kv_blocks_for(tokens)});
}

std::int64_t RowBounds::of(RowSet set) const {
  switch (set) {
    case RowSet::Local:
      return local;
    case RowSet::Group:
      return group;
    case RowSet::Slice:
      return slice;
  }
  return group;
}

RowBounds row_bounds(const Plan& plan, const StagePlan& stage, Phase phase,
                     std::int64_t blocks_per_group) {
  const PhaseMesh mesh = phase_mesh(stage, phase);
  const std::int64_t each = phase == Phase::Prefill ? plan.prefill_chunk : 1;
  // The scheduler cuts the requests of a step into min(microbatches, requests) even parts.
  const std::int64_t most = ceil_div(plan.max_batch, std::min(plan.microbatches, plan.max_batch));
  std::int64_t step = capped_product({plan.max_batch, each});
  RowBounds rows;
  rows.stage = capped_product({most, each});
  rows.group = rows.stage;
  if (blocks_per_group > 0) {
    const std::int64_t groups = schedule_groups(plan);
    const std::int64_t slots = capped_product({blocks_per_group, kKvTokensPerBlock});
    rows.stage = std::min(rows.stage, capped_product({slots, groups}));
    const std::int64_t held = capped_product({slots, ceil_div(groups, stage.dp)});
    rows.group = std::min(rows.group, held);
    step = std::min(step, held);
  }
  rows.step_group = step;
  rows.local = ceil_div(rows.group, mesh.sp);
  rows.slice = ceil_div(rows.local, mesh.tp);
  return rows;
}

std::int64_t weight_bytes(const LoweringContext& context, const RankProgram& program) {
  const ModelSpec& model = context.model;
  const DType dtype = context.plan.weight_dtype.value_or(model.dtype);
  const TensorId embedding{TensorRole::Embedding, -1, -1};
  const bool looked_up = has_step<step::Embed>(program);
  const bool multiplied = model.tied_embeddings && has_step<step::LmHead>(program);
  std::int64_t bytes = 0;
  for (const WeightSlice& slice : held_weights(program)) {
    const bool vector = tensor_info(model, slice.id).cols == 1;
    if (slice.id == embedding) {
      const std::int64_t table =
          capped_product({slice.count(), static_cast<std::int64_t>(size_of(dtype))});
      if (looked_up) bytes = capped_sum({bytes, table});
      if (multiplied) bytes = capped_sum({bytes, packed_bytes(slice, dtype)});
    } else if (vector) {
      bytes = capped_sum({bytes, capped_product({slice.count(), 4})});
    } else {
      bytes = capped_sum({bytes, packed_bytes(slice, dtype)});
    }
  }
  return bytes;
}

std::int64_t kv_bytes(const LoweringContext& context, const RankProgram& program,
                      std::int64_t blocks_per_group) {
  const StagePlan& stage = context.plan.stages[program.place.stage.index()];
  std::int64_t kv_heads = 0;
  for (const Step& step : program.decode.steps) {
    if (const auto* attention = std::get_if<step::Attention>(&step)) {
      kv_heads = attention->kv_heads.size();
    }
  }
  const std::int64_t groups = ceil_div(schedule_groups(context.plan), stage.dp);
  return capped_product({context.mesh.layers(program.place.stage).size(), groups, blocks_per_group,
                         kKvTokensPerBlock, kv_heads, context.model.head_dim, 2, 4});
}

MemoryUse memory_use(const LoweringContext& context, const RankProgram& program,
                     std::int64_t blocks_per_group) {
  MemoryUse use;
  use.weights = weight_bytes(context, program);
  use.kv = kv_bytes(context, program, blocks_per_group);
  use.registers = register_bytes(context, program, blocks_per_group);
  use.buffers = buffer_bytes(context, program, blocks_per_group);
  return use;
}

std::string format_memory(std::span<const MemoryUse> by_rank) {
  const auto line = [](const std::string& name, const MemoryUse& use) {
    const auto bytes = [](std::int64_t n) { return format_bytes(static_cast<double>(n)); };
    return fmt::format("{:>6} {:>10} {:>10} {:>10} {:>10} {:>10}\n", name, bytes(use.weights),
                       bytes(use.kv), bytes(use.registers), bytes(use.buffers), bytes(use.total()));
  };
  std::string text = fmt::format("{:>6} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "rank", "weights",
                                 "KV", "registers", "buffers", "total");
  MemoryUse most;
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    const MemoryUse& use = by_rank[rank];
    text += line(std::to_string(rank), use);
    most.weights = std::max(most.weights, use.weights);
    most.kv = std::max(most.kv, use.kv);
    most.registers = std::max(most.registers, use.registers);
    most.buffers = std::max(most.buffers, use.buffers);
  }
  return text + line("most", most);
}

}  // namespace pentafold
